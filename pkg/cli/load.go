package cli

import (
	"errors"

	"github.com/kolla-build/kolla-build/pkg/config"
)

// ErrHelp is returned by Load when the user asks for help. The caller prints Help
// and exits with status 0.
var ErrHelp = errors.New("help requested")

// ErrVersion is returned by Load when the user asks for the version.
var ErrVersion = errors.New("version requested")

// Input is the input of Load, which reads no other files than those named here and on
// the command line.
type Input struct {
	Command    Command             // the zero Command is the build itself
	Args       []string            // the arguments without the command's name
	Before     int                 // how many of them precede the command's name
	Env        []string            // as os.Environ returns it
	Dir        string              // the working directory, "" for the process's own
	SystemFile string              // "" for the first that is found where Kolla's tool searches
	HostArch   string              // x86_64 or aarch64, "" for the architecture of this machine
	Program    string              // see config.Input
	Profiles   map[string][]string // the default profiles: name to regular expressions
	Commands   []Command           // all commands, for suggestions
}

// Load parses the command line and reads the environment and the files. A user's
// mistake is a *config.Error, or several of them joined; a request for help or for
// the version is ErrHelp or ErrVersion.
func Load(in Input) (*config.Config, error) {
	arguments, err := parse(in)
	if err != nil {
		return nil, err
	}
	if in.Command.NoFiles {
		in.Env = nil
	}
	return config.Load(config.Input{
		NoFiles: in.Command.NoFiles,
		Command: in.Command.Name, Arguments: *arguments, Env: in.Env, Dir: in.Dir,
		SystemFile: in.SystemFile, HostArch: in.HostArch, Program: in.Program, Profiles: in.Profiles,
	})
}
