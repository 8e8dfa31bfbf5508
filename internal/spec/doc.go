// Package spec tells what a server does, as its clients see it: tests only, each
// of the whole of it over sockets, one file a subject.
package spec
