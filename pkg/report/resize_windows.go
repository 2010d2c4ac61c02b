package report

// notifyResize does nothing: Windows sends no signal, and the size is read at
// each drawing anyway.
func notifyResize(func()) func() { return func() {} }
