// Package engine loads images into a running container engine, Docker, Podman or
// containerd, so that `docker images` lists them and containers can start from them. It owns
// the engines' addresses, their APIs and the archive in which an image is sent. It
// must not know configuration files, the store or registries.
//
//	e, err := engine.Open(ctx, engine.Options{Kind: engine.Docker})
//	res, err := e.Load(ctx, engine.Request{Ref: "kolla/nova-api:t", Image: img})
//
// An archive leaves out the layers that the engine already has: the engines look a
// layer up before they read it. One client serves Docker and Podman, because five
// requests are needed and no library knows both APIs; containerd has its own.
package engine
