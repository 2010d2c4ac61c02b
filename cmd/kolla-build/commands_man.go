package main

import (
	"context"
	"io"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/config"
)

func manCommand() *command {
	return &command{
		Command: cli.Command{
			Name: "man", Minor: true, NoFiles: true,
			Summary: "Print the manual page.",
			Examples: []cli.Example{
				{Line: "kolla-build man | man -l -", Effect: "Read it."},
			},
		},
		run: func(_ context.Context, cfg *config.Config, con *console.Console) error {
			if len(cfg.Args) > 0 {
				return &config.Error{
					Message: "man takes no arguments",
					Hint:    "kolla-build -- man builds the images whose names contain man",
				}
			}
			_, err := io.WriteString(con.Stdout, cli.ManPage(described(table()), version, manDate(con)))
			return err
		},
	}
}

// manDate is the date in the manual page: SOURCE_DATE_EPOCH, else that of the
// commit that this program was built from, else today.
func manDate(con *console.Console) time.Time {
	if secs, err := strconv.ParseInt(con.Getenv("SOURCE_DATE_EPOCH"), 10, 64); err == nil {
		return time.Unix(secs, 0)
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if t, err := time.Parse(time.RFC3339, s.Value); s.Key == "vcs.time" && err == nil {
				return t
			}
		}
	}
	return time.Now()
}
