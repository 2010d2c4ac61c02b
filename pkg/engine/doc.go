// Package engine brings images into a container engine that runs: Docker, or
// Podman, so that `docker images` shows them and containers start from them.
//
// It owns the engines' addresses and APIs, and the archive that an image is sent
// as: one that leaves out the layers that the engine has already. Both engines
// take such an archive, as they look a layer up before they read it. It knows
// nothing of configuration, of the store or of registries; an image is a v1.Image.
//
//	e, err := engine.Open(ctx, engine.Options{Kind: engine.Docker})
//	res, err := e.Load(ctx, engine.Request{Ref: "kolla/nova-api:t", Image: img})
//
// One client speaks to both, because what is asked of them is five requests, and
// no library speaks both APIs.
package engine
