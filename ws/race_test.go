package ws

import (
	"runtime/debug"
	"slices"
)

// Raced reports whether the race detector is on. Everything takes several times
// as long then, and pools forget some of what is put into them.
func Raced() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}
