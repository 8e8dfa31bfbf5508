// Package aerys is a minimal web framework after PHP's Aerys.
package aerys

// params are the arguments of a matched route.
type params struct{}
