module aerys/example/cluster

go 1.24.2

require (
	aerys v0.0.0
	aerys/ws/nats v0.0.0
	github.com/nats-io/nats-server/v2 v2.11.3
)

require (
	github.com/google/go-tpm v0.9.8 // indirect
	github.com/klauspost/compress v1.19.2 // indirect
	github.com/minio/highwayhash v1.0.4 // indirect
	github.com/nats-io/jwt/v2 v2.8.0 // indirect
	github.com/nats-io/nats.go v1.41.2 // indirect
	github.com/nats-io/nkeys v0.4.15 // indirect
	github.com/nats-io/nuid v1.0.1 // indirect
	golang.org/x/crypto v0.48.0 // indirect
	golang.org/x/sys v0.41.0 // indirect
	golang.org/x/time v0.14.0 // indirect
)

replace aerys => ../..

replace aerys/ws/nats => ../../ws/nats
