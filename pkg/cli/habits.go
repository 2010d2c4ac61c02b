package cli

import "github.com/kolla-build/kolla-build/pkg/config"

// foreignOptions are options of docker, podman, buildx, kayobe and make that users type
// out of habit, with what to do instead. None of them is near the name of the option that
// does the same.
var foreignOptions = map[string]string{
	"arch":              "write --base-arch x86_64 or aarch64, or --platform linux/amd64",
	"architecture":      "write --base-arch x86_64 or aarch64, or --platform linux/amd64",
	"authfile":          loginHint,
	"ca-bundle":         authorityHint,
	"ca-cert":           authorityHint,
	"ca-file":           authorityHint,
	"cacert":            authorityHint,
	"cache-from":        "images and steps that have not changed are reused anyway",
	"cache-to":          "images and steps that have not changed are reused anyway",
	"cert-dir":          authorityHint,
	"creds":             loginHint,
	"distribution":      "write --base debian",
	"distro":            "write --base debian",
	"exclude":           "write a regular expression that does not match the image, such as '^(?!nova-)'",
	"extra-vars":        "settings are options, or keys of a file for --config-file",
	"file":              "Dockerfiles are rendered from templates: write DIR/NAME/Dockerfile.j2, and --docker-dir DIR",
	"force":             "--nocache builds all selected images again",
	"force-rm":          "the builder keeps no containers",
	"http-proxy":        "write --build-args http_proxy:http://proxy.example:3128,https_proxy:http://proxy.example:3128",
	"https-proxy":       "write --build-args http_proxy:http://proxy.example:3128,https_proxy:http://proxy.example:3128",
	"ignore-errors":     "other images are built anyway; --allowed-to-fail IMAGE,… ignores failures",
	"image":             namesHint, // Kolla's tool reads it as --image-name-prefix
	"images":            namesHint,
	"insecure":          "--registry-insecure HOST uses plain HTTP; for a private authority see docs/private-ca.md",
	"insecure-registry": "write --registry-insecure HOST",
	"install-metatype":  "Kolla 9 removed it: CentOS images take OpenStack from RDO",
	"jobs":              "write --threads N",
	"keep-going":        "it is the default: other images are built; --fail-fast stops",
	"label":             "write LABEL in a block of a template override",
	"limit":             namesHint,
	"load":              "images are loaded into Docker if it runs; --engine docker requires it",
	"log-level":         "write --debug, or --quiet",
	"only":              namesHint,
	"os":                "write --base debian",
	"parallel":          "write --threads N",
	"password":          loginHint,
	"proxy":             "write --build-args http_proxy:http://proxy.example:3128,https_proxy:http://proxy.example:3128",
	"rebuild":           "--nocache builds all selected images again, --refresh those whose packages have changed",
	"release":           "write --openstack-release NAME, such as 2025.1",
	"rm":                "the builder keeps no containers",
	"skip":              "write a regular expression that does not match the image, such as '^(?!nova-)'",
	"skip-tls-verify":   "--registry-insecure HOST uses plain HTTP; for a private authority see docs/private-ca.md",
	"target":            "the last stage of a Dockerfile is the image",
	"tls-verify":        "--registry-insecure HOST uses plain HTTP; for a private authority see docs/private-ca.md",
	"update":            "--refresh builds images again whose packages have changed",
	"user":              loginHint,
	"username":          loginHint,
	"V":                 "write --version",
	"v":                 "write --debug, or kolla-build version",
	"verbose":           "write --debug",
	"workers":           "write --threads N",
}

const (
	loginHint = "log in with docker login or podman login: their files are read; REGISTRY_AUTH_FILE and DOCKER_CONFIG " +
		"name others"
	authorityHint = "put the authority's certificate in /etc/docker/certs.d/HOST:PORT/ca.crt; SSL_CERT_FILE names a " +
		"file for everything that is fetched"
	namesHint = "names are regular expressions without an option: kolla-build '^nova-' '^keystone$'"
)

// foreignCommandOptions are such options of single commands.
var foreignCommandOptions = map[string]map[string]string{
	"bootstrap": {
		"arch":  "write --debian-arch amd64 or arm64",
		"suite": "write the suite after a colon: kolla-build bootstrap debian:trixie",
	},
	"copy": {
		"dest":        copyHint,
		"destination": copyHint,
		"from":        copyHint,
		"src":         copyHint,
		"source":      copyHint,
		"to":          copyHint,
	},
	"images": {
		"filter": "write a regular expression: kolla-build images nova-",
		"quiet":  "kolla-build images --json prints names and digests for programs",
	},
	"load": {
		"file":  "write the file without an option: kolla-build load set.tar",
		"input": "write the file without an option: kolla-build load set.tar",
	},
	"logs": {
		"tail": "kolla-build logs IMAGE | tail shows the end",
	},
	"registry": {
		"bind":         addressHint,
		"bind-address": addressHint,
		"data":         "write --dir DIR",
		"host":         addressHint,
		"listen":       addressHint,
		"port":         addressHint,
		"root":         "write --dir DIR",
		"storage":      "write --dir DIR",
	},
	"remove": {
		"all":   "kolla-build remove . removes all images from the local store",
		"force": "kolla-build remove asks no questions",
	},
	"save": {
		"file":  "write --output FILE",
		"image": "names are regular expressions without an option: kolla-build save nova- --output nova.tar",
	},
}

const (
	addressHint = "write --addr HOST:PORT, or --addr :PORT to serve all hosts"
	copyHint    = "locations are written without options: kolla-build copy build.example:4000/kolla:2026.1 " +
		"site.example:4000/kolla"
)

// habitHint returns what to write instead of an option of another program, "" if it is not
// known.
func (p *parser) habitHint(name string) string {
	if p.cmd.Name != "" {
		return foreignCommandOptions[p.cmd.Name][config.CanonicalName(name)]
	}
	return foreignOptions[config.CanonicalName(name)]
}
