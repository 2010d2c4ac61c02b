// Package engine loads images into a running container engine, Docker, Podman or
// containerd, so that `docker images` lists them and containers can start from them. It owns
// the engines' addresses, their APIs and the archive in which an image is sent. It
// must not know configuration files, the store or registries.
//
//	e, err := engine.Open(ctx, engine.Options{Kind: engine.Docker})
//	res, err := e.Load(ctx, engine.Request{Ref: "kolla/nova-api:t", Image: img})
//
// An archive leaves out the layers that the engine already has: the engines look a layer up
// before they read it. Docker and Podman share one HTTP client, because five requests are
// enough and no library supports both APIs; containerd has its own client.
package engine
