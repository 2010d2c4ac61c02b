package config

// Command describes a command for help and documentation. What a command does and
// its own flags are the command's; Help is given them.
type Command struct {
	Name     string // "" for the build itself
	Args     string // what follows the options
	Summary  string // one sentence
	Examples []Example
	Groups   []Group // the options that matter to it
}

// Example is a command line that a user may type, and what it does.
type Example struct {
	Line string
	Does string
}

var commands = []Command{
	{Name: "", Args: "[REGEX…]",
		Summary: "Build OpenStack container images from a tree of templates, with BuildKit.",
		Groups:  Groups(),
		Examples: []Example{
			{"kolla-build -b debian -t binary keystone", "Build keystone's images and their parents, from Debian's packages."},
			{"kolla-build -b ubuntu nova zun", "Build all images of nova and zun, from sources, on Ubuntu."},
			{"kolla-build --profile infra --push --registry localhost:4000", "Build a profile's images and push them to a registry."},
			{"kolla-build --base debian --list-images nova-", "List the images of nova and build nothing."},
			{"kolla-build --template-only --work-dir out", "Render the Dockerfiles and build nothing."},
			{"kolla-build --generate-config > kolla-build.conf", "Start a configuration file."},
		}},
	{Name: "images", Args: "[REGEX…]",
		Summary: "List the images in the local store.",
		Groups:  []Group{GroupBuilder, GroupConfig},
		Examples: []Example{
			{"kolla-build images nova-", "List what was built of nova."},
		}},
	{Name: "save", Args: "[REGEX…] --output FILE",
		Summary: "Write built images into one file for a site without internet.",
		Groups:  []Group{GroupSelect, GroupNames, GroupBuilder, GroupConfig},
		Examples: []Example{
			{"kolla-build save --output set.tar", "Save every image that was built."},
			{"kolla-build save nova- --output nova.tar", "Save nova's images."},
		}},
	{Name: "load", Args: "FILE",
		Summary: "Take images out of a saved file, and push them to a registry.",
		Groups:  []Group{GroupNames, GroupBuilder, GroupConfig},
		Examples: []Example{
			{"kolla-build load set.tar --push --registry localhost:4000", "Push the images of a file to a registry."},
		}},
	{Name: "registry", Args: "serve|gc",
		Summary: "Run a registry on this host, or free what nothing in it refers to.",
		Groups:  []Group{GroupBuilder, GroupConfig},
		Examples: []Example{
			{"kolla-build registry serve", "Serve a registry on port 4000."},
		}},
	{Name: "bootstrap", Args: "DISTRO[:SUITE]",
		Summary: "Make a Debian or Ubuntu base image from a package mirror.",
		Groups:  []Group{GroupBase, GroupBuilder, GroupConfig},
		Examples: []Example{
			{"kolla-build bootstrap debian:bookworm", "Make a base image of Debian 12."},
		}},
}

// Commands returns the commands, the build itself first.
func Commands() []Command { return commands }
