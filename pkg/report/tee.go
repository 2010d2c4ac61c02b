package report

import "github.com/kolla-build/kolla-build/pkg/build"

// Tee returns a handler that gives each event to every handler, in order.
func Tee(handlers ...func(build.Event)) func(build.Event) {
	return func(e build.Event) {
		for _, h := range handlers {
			h(e)
		}
	}
}
