//go:build !unix

package aerys

import "errors"

// openFilesLimit is the default of MaxConnections.
func openFilesLimit() int { return 10000 }

// changeUser fails: there is no such thing here.
func changeUser(name string) error {
	if name != "" {
		return errors.New("aerys: Options.User works on Unix only")
	}
	return nil
}
