package report

import "github.com/kolla-build/kolla-build/pkg/build"

// Tee returns a handler that calls every handler with each event, in order.
func Tee(handlers ...func(build.Event)) func(build.Event) {
	return func(e build.Event) {
		for _, h := range handlers {
			h(e)
		}
	}
}
