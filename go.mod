module aerys

go 1.24.2
