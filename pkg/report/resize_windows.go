package report

// notifyResize does nothing: Windows sends no signal, and the size is read for each
// frame anyway.
func notifyResize(func()) func() { return func() {} }
