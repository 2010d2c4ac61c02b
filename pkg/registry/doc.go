// Package registry speaks to image registries and is one.
//
// It owns image names (Naming), look-ups and pulls (Client), the publication of
// a set of images (Publisher: content goes up by digest as images finish, the
// tags move together at the end), and the embedded registry that
// "kolla-build registry serve" runs (Start, Serve, GarbageCollect).
//
// It knows nothing of templates, plans, BuildKit or the local store: what it
// publishes is handed to it as go-containerregistry images, and credentials are
// those that "docker login" and its helpers left in the user's configuration.
//
// A publication looks like this:
//
//	c, err := registry.New(registry.Options{})
//	p := c.NewPublisher(registry.PublishOptions{})
//	d, err := p.Push(ctx, "localhost:4000/kolla/base", image) // as images finish
//	err = p.Commit(ctx, []registry.Tag{{Ref: "localhost:4000/kolla/base:2026.1", Digest: d.Digest}})
//
// Errors that a caller decides on have types (NotFoundError, UnauthorizedError,
// UnreachableError, CommitError and others), and each of those has a Hint: one
// line that says what the user can do.
package registry
