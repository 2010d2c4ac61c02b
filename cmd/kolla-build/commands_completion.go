package main

import (
	"context"
	"embed"
	"fmt"
	"io"
	"strings"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/suggest"
	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/facts"
	"github.com/kolla-build/kolla-build/pkg/imageset"
	"github.com/kolla-build/kolla-build/pkg/storecmd"
	"github.com/kolla-build/kolla-build/profiles"
)

// The completion scripts of the shells pass the words before the cursor to
// "kolla-build __complete" and show what it prints.
//
//go:embed completion
var completionFiles embed.FS

var shells = []string{"bash", "fish", "zsh"}

func completionCommand() *command {
	return &command{
		Command: cli.Command{
			Name: "completion", Minor: true, NoFiles: true, Args: strings.Join(shells, "|"), Words: shells,
			Summary: "Print a shell's completion script.",
			Examples: []cli.Example{
				{Line: "kolla-build completion bash > /etc/bash_completion.d/kolla-build",
					Effect: "Complete in every new bash; \"source\" the file in this one."},
				{Line: "kolla-build completion zsh > ~/.zfunc/_kolla-build", Effect: "Complete in zsh, with ~/.zfunc in fpath."},
				{Line: "kolla-build completion fish > ~/.config/fish/completions/kolla-build.fish", Effect: "Complete in fish."},
			},
		},
		run: func(_ context.Context, cfg *config.Config, con *console.Console) error {
			if err := oneArgument(cfg, "shell", "one of "+strings.Join(shells, ", ")); err != nil {
				return err
			}
			script, err := completionFiles.ReadFile("completion/kolla-build." + cfg.Args[0])
			if err != nil {
				hint := "one of " + strings.Join(shells, ", ")
				if n := suggest.Nearest(cfg.Args[0], shells); n != "" {
					hint = "did you mean " + n + "?"
				}
				return &config.Error{Message: fmt.Sprintf("there is no completion for %q", cfg.Args[0]), Hint: hint}
			}
			_, err = con.Stdout.Write(script)
			return err
		},
	}
}

// completeCommand is called by completion scripts. It prints a candidate on each line,
// with its help after a tab. The last line is ":", followed by files or dirs if the
// shell is to complete file names as well.
func completeCommand() *command {
	return &command{
		Command: cli.Command{
			Name:    "__complete",
			Args:    "WORD…",
			Hidden:  true,
			Summary: "Complete a command line, for shells.",
		},
		raw: func(_ context.Context, args []string, con *console.Console) error {
			complete := func(cmd cli.Command, before []string, kind config.Values) []cli.Candidate {
				return lookUp(cmd, before, kind, con)
			}
			out := cli.Complete(cli.CompleteInput{Words: args, Commands: described(table()), LookUp: complete})
			var b strings.Builder
			for _, c := range out.Candidates {
				help, _, _ := strings.Cut(c.Help, "\n")
				fmt.Fprintf(&b, "%s\t%s\n", c.Word, help)
			}
			b.WriteString(":" + string(out.Files))
			_, err := io.WriteString(con.Stdout, b.String()+"\n")
			return err
		},
	}
}

// lookUp returns the candidates that depend on the template tree, the store and the
// configuration. Mistakes in these are ignored; the command reports them.
func lookUp(cmd cli.Command, before []string, kind config.Values, con *console.Console) []cli.Candidate {
	in := cli.Input{Command: cmd, Args: before, Env: con.Environ}
	in.Profiles, _ = profiles.All()
	cfg, err := cli.Load(in)
	if err != nil {
		in.Args = nil
		if cfg, err = cli.Load(in); err != nil {
			return nil
		}
	}
	var out []cli.Candidate
	switch kind {
	case config.ValuesProfiles:
		for _, name := range cfg.ProfileNames() {
			out = append(out, cli.Candidate{Word: name, Help: strings.Join(cfg.Profiles[name], ", ")})
		}
	case config.ValuesTags:
		d, _ := facts.LookupDistro(cfg.Base)
		for _, r := range d.Releases {
			for _, tag := range r.Tags {
				out = append(out, cli.Candidate{Word: tag, Help: strings.TrimSuffix(r.PrettyName, ".*")})
			}
		}
	case config.ValuesImages:
		for _, name := range imageset.Names(cfg) {
			out = append(out, cli.Candidate{Word: name})
		}
	case config.ValuesStored:
		for _, name := range storecmd.Names(cfg) {
			out = append(out, cli.Candidate{Word: name})
		}
	}
	return out
}
