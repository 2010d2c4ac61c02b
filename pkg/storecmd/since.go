package storecmd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/printable"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/bundle/contents"
	"github.com/kolla-build/kolla-build/pkg/bundle/parts"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/inventory"
	"github.com/kolla-build/kolla-build/pkg/setcopy"
	"github.com/kolla-build/kolla-build/pkg/store"
	"github.com/kolla-build/kolla-build/pkg/workspace"
)

// Inventory prints what a registry's namespace, or the store, has.
func Inventory(ctx context.Context, cfg *config.Config, con *console.Console, args []string, ofStore bool) error {
	if ofStore == (len(args) == 1) || len(args) > 1 {
		return usererr.Usage(usererr.Errorf("kolla-build inventory localhost:4000/kolla, or kolla-build inventory --store",
			"inventory takes HOST[:PORT]/NAMESPACE[:TAG] or --store"))
	}
	var inv *inventory.Inventory
	if ofStore {
		s, err := workspace.OpenStoreForReading(cfg)
		if err != nil {
			return err
		}
		defer s.Close()
		if inv, err = storeInventory(s); err != nil {
			return err
		}
	} else {
		var err error
		if inv, err = registryInventory(ctx, cfg, con, args[0]); err != nil {
			return err
		}
	}
	return inv.Write(con.Stdout)
}

func storeInventory(s *store.Store) (*inventory.Inventory, error) {
	entries, err := s.Entries()
	if err != nil {
		return nil, err
	}
	inv := inventory.New(storeName(), time.Now())
	for _, e := range entries {
		if err := inv.Add(e.Name, e.Digest, s.ReadManifest); err != nil {
			return nil, err
		}
	}
	return inv, nil
}

// storeName is the name of a store in its inventory, which another site reads.
func storeName() string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		return "a store"
	}
	return "the store of " + host
}

func registryInventory(ctx context.Context, cfg *config.Config, con *console.Console, location string) (
	*inventory.Inventory, error) {
	from, err := setcopy.ParseLocation(location)
	if err != nil {
		return nil, err
	}
	client, err := workspace.RegistryClient(ctx, cfg, con)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return setcopy.Inventory(ctx, client, from)
}

// readSince reads what the other side has: a bundle, a file of the inventory command, or
// a registry's namespace.
func readSince(ctx context.Context, cfg *config.Config, con *console.Console, s *store.Store, since string) (
	*inventory.Inventory, error) {
	if parts.IsPart(since) { // which begins as JSON does
		return sinceBundle(contents.Inventory(ctx, since, s))
	}
	f, err := inputfile.Open(ctx, since)
	switch {
	case errors.Is(err, syscall.EISDIR):
		return sinceBundle(contents.Inventory(ctx, since, s))
	case errors.Is(err, fs.ErrNotExist):
		if part := parts.First(since); part != "" {
			return nil, usererr.Usage(usererr.Errorf("it was saved in parts: name one of them, such as "+part,
				"--since: %w", err))
		}
		if _, notLocation := setcopy.ParseLocation(since); notLocation != nil {
			return nil, usererr.Usage(
				usererr.Errorf("--since takes a bundle, a file of kolla-build inventory, or HOST[:PORT]/NAMESPACE[:TAG]",
					"--since %s: there is no such file", printable.Quoted(since)))
		}
		return registryInventory(ctx, cfg, con, since)
	case err != nil:
		return nil, fmt.Errorf("--since: %w", err)
	}
	defer f.Close()
	r := bufio.NewReader(f)
	if first, err := r.Peek(1); err == nil && first[0] == '{' {
		inv, err := inventory.Read(r)
		if err != nil {
			return nil, usererr.Errorf("write it again: kolla-build inventory", "%s: %w", since, err)
		}
		return inv, nil
	}
	if _, regular := f.(*os.File); !regular {
		return sinceBundle(contents.InventoryOfStream(ctx, since, r, s))
	}
	return sinceBundle(contents.Inventory(ctx, since, s))
}

// sinceBundle names the option in an error of reading a bundle.
func sinceBundle(inv *inventory.Inventory, err error) (*inventory.Inventory, error) {
	if err != nil {
		return nil, fmt.Errorf("--since: %w", err)
	}
	return inv, nil
}
