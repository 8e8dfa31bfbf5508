module autocert

go 1.24.2

require (
	aerys v0.0.0
	golang.org/x/crypto v0.45.0
)

require (
	golang.org/x/net v0.47.0 // indirect
	golang.org/x/text v0.31.0 // indirect
)

replace aerys => ../..
