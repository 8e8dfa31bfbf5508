package main

// fault is a panic that ends a case, whose figures would mean nothing.
type fault struct{ error }

func must(err error) {
	if err != nil {
		panic(fault{err})
	}
}

// catch is deferred to turn a fault into an error.
func catch(err *error) {
	switch r := recover().(type) {
	case nil:
	case fault:
		*err = r.error
	default:
		panic(r)
	}
}
