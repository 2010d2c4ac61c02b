// Package push publishes a set of images: content is pushed by digest as images finish
// (Publisher.Push), and the tags are updated together at the end, all or none
// (Publisher.Commit). A run that ends before Commit leaves every tag as it was.
//
// It owns the journal of a commit, with which a later run completes or undoes the commit of a
// killed process (Publisher.Recover). It must not know the registries' protocol (package
// registry), the origin of images, or which tags a set gets.
//
//	p := push.New(client, push.Options{Journal: dir})
//	d, err := p.Push(ctx, "localhost:4000/kolla/base", image) // as images finish
//	err = p.Commit(ctx, []push.Tag{{Ref: "localhost:4000/kolla/base:2026.1", Digest: d.Digest}})
package push
