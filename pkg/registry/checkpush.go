package registry

import (
	"context"
	"net/http"
	"net/url"
	"path"

	"golang.org/x/sync/errgroup"

	"github.com/kolla-build/kolla-build/pkg/imageref"
)

// CheckPush finds out whether the user may push to names: it begins an upload and cancels
// it, in one repository of each namespace, because rights are usually granted for
// namespaces. The error is an *UnauthorizedError or *ReadOnlyError if they may not.
func (c *Client) CheckPush(ctx context.Context, names []string) error {
	checked := map[string]bool{}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(2 * c.opts.Jobs)
	for _, name := range names {
		ref, err := imageref.ParseTag(name)
		if err != nil {
			return err
		}
		namespace := ref.Registry() + "/" + path.Dir(ref.Path())
		if checked[namespace] {
			continue
		}
		checked[namespace] = true
		g.Go(func() error { return c.Repository(ref).checkPush(gctx) })
	}
	return g.Wait()
}

func (r *Repository) checkPush(ctx context.Context) error {
	fail := func(err error) error { return r.host.failure(r.Name(), err) }
	req, err := r.request(ctx, http.MethodPost, "/blobs/uploads/", nil, nil)
	if err != nil {
		return fail(err)
	}
	resp, err := r.host.do(req, r.ref.Path(), scope(r.ref.Path(), actionsPush))
	if err != nil {
		return fail(err)
	}
	defer drain(resp)
	switch resp.StatusCode {
	case http.StatusMethodNotAllowed, http.StatusNotImplemented:
		// A registry in maintenance, or a cache of another one.
		return &ReadOnlyError{Name: r.Name(), Err: checkStatus(resp, http.StatusAccepted)}
	}
	if err := checkStatus(resp, http.StatusAccepted, http.StatusCreated); err != nil {
		return fail(err)
	}
	// On another host, a request to delete could remove what the registry does not own.
	if location, err := resp.Location(); err == nil && sameHost(location, r.host.addr) {
		r.cancelUpload(ctx, location)
	}
	return nil
}

// cancelUpload cancels an upload. Registries that do not support this request remove it
// later.
func (r *Repository) cancelUpload(ctx context.Context, location *url.URL) {
	ctx = context.WithValue(ctx, keyOnce, true)
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, location.String(), nil)
	if err != nil {
		return
	}
	if resp, err := r.host.do(req, r.ref.Path(), scope(r.ref.Path(), actionsPush)); err == nil {
		drain(resp)
	}
}
