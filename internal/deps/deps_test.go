// Package deps owns the rules for all packages, as tests: their imports, their
// comments, their place in docs/architecture.md, durable renames, and hosts that no
// file may name. It must not know the subject of any package.
package deps

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

const module = "github.com/kolla-build/kolla-build/"

// allowed lists, for each package, the packages of ours that it may import.
// Packages further down may import packages further up, and no others: a new import is
// a decision.
var allowed = map[string]string{
	"pkg/facts":                   "",
	"pkg/config":                  "pkg/facts",
	"pkg/cli":                     "pkg/config pkg/facts",
	"pkg/jinja/internal/raise":    "",
	"pkg/jinja/internal/pystr":    "",
	"pkg/jinja/internal/syntax":   "pkg/jinja/internal/raise pkg/jinja/internal/pystr",
	"pkg/jinja/internal/resolve":  "pkg/jinja/internal/raise pkg/jinja/internal/syntax",
	"pkg/jinja/internal/value":    "pkg/jinja/internal/raise pkg/jinja/internal/pystr",
	"pkg/jinja/internal/operator": "pkg/jinja/internal/raise pkg/jinja/internal/pystr pkg/jinja/internal/value",
	"pkg/jinja/internal/method":   "pkg/jinja/internal/raise pkg/jinja/internal/pystr pkg/jinja/internal/value pkg/jinja/internal/operator",
	"pkg/jinja/internal/builtin":  "pkg/jinja/internal/raise pkg/jinja/internal/pystr pkg/jinja/internal/value pkg/jinja/internal/operator pkg/jinja/internal/method",
	"pkg/jinja": "pkg/jinja/internal/raise pkg/jinja/internal/pystr pkg/jinja/internal/syntax pkg/jinja/internal/resolve " +
		"pkg/jinja/internal/value pkg/jinja/internal/operator pkg/jinja/internal/method pkg/jinja/internal/builtin",
	"pkg/graph":              "",
	"pkg/compress":           "",
	"pkg/delta":              "pkg/compress",
	"pkg/inventory":          "",
	"pkg/store":              "pkg/compress pkg/imageref",
	"pkg/multiplatform":      "pkg/build pkg/image pkg/store",
	"pkg/image":              "",
	"pkg/plan":               "pkg/image",
	"pkg/trace":              "",
	"dockerfiles":            "",
	"profiles":               "",
	"pkg/source":             "",
	"pkg/inspect":            "",
	"pkg/packages":           "pkg/inspect",
	"pkg/imageref":           "",
	"pkg/dockerfile":         "pkg/imageref",
	"pkg/render":             "pkg/config pkg/facts pkg/jinja pkg/imageref pkg/dockerfile",
	"pkg/build":              "pkg/image pkg/plan",
	"pkg/lock":               "",
	"pkg/inputs":             "pkg/bootstrap pkg/lock pkg/store",
	"pkg/build/builderdir":   "internal/mounts",
	"pkg/build/buildkit":     "pkg/build pkg/build/builderdir pkg/image pkg/dockerfile",
	"pkg/build/limits":       "pkg/build pkg/image pkg/plan",
	"pkg/build/observe":      "pkg/build pkg/plan pkg/trace",
	"pkg/runstate":           "pkg/build pkg/image pkg/plan",
	"pkg/registry":           "pkg/imageref",
	"pkg/registry/push":      "pkg/imageref pkg/registry",
	"pkg/registry/server":    "",
	"pkg/bundle/parts":       "",
	"pkg/imagearchive":       "pkg/compress pkg/store",
	"pkg/bundle":             "pkg/store",
	"pkg/bundle/reader":      "pkg/bundle pkg/bundle/parts pkg/imagearchive",
	"pkg/bundle/save":        "pkg/bundle pkg/bundle/parts pkg/bundle/reader pkg/delta pkg/imageref pkg/inventory pkg/store",
	"pkg/bundle/load":        "pkg/bundle pkg/bundle/parts pkg/bundle/reader pkg/compress pkg/delta pkg/imagearchive pkg/imageref pkg/store",
	"pkg/bundle/verify":      "pkg/bundle pkg/bundle/parts pkg/bundle/reader pkg/imageref",
	"pkg/bundle/contents":    "pkg/bundle pkg/bundle/reader pkg/inventory pkg/store",
	"pkg/engine":             "",
	"pkg/squash":             "",
	"pkg/bootstrap":          "pkg/bundle/load pkg/store internal/mounts",
	"pkg/report":             "pkg/build pkg/image",
	"pkg/runlogs":            "pkg/report",
	"pkg/report/page":        "pkg/report pkg/build pkg/image",
	"pkg/report/files":       "pkg/config pkg/report pkg/report/page pkg/runlogs pkg/workspace",
	"pkg/engineload":         "pkg/bootstrap pkg/build pkg/config pkg/engine pkg/image pkg/plan pkg/store",
	"pkg/workspace":          "pkg/config pkg/imageref pkg/packages pkg/registry pkg/store",
	"pkg/store/repair":       "pkg/store",
	"pkg/storecmd":           "pkg/build/builderdir pkg/bundle pkg/bundle/contents pkg/bundle/load pkg/bundle/parts pkg/bundle/save pkg/bundle/verify pkg/config pkg/engine pkg/engineload pkg/imageref pkg/imageset pkg/inventory pkg/publish pkg/registry pkg/remoteset pkg/setcopy pkg/store pkg/store/repair pkg/workspace",
	"pkg/remoteset":          "pkg/imageref pkg/inventory pkg/registry pkg/setcopy pkg/store",
	"pkg/setcopy":            "pkg/config pkg/imageref pkg/imageset pkg/inventory pkg/publish pkg/registry pkg/registry/push pkg/workspace",
	"pkg/imagediff":          "pkg/config pkg/imageref pkg/imageset pkg/inspect pkg/packages pkg/registry pkg/store pkg/workspace",
	"pkg/contract":           "pkg/config pkg/imagediff pkg/imageref pkg/inspect pkg/store pkg/storecmd",
	"pkg/explain":            "pkg/config pkg/dockerfile pkg/graph pkg/image pkg/imageset pkg/plan pkg/render",
	"pkg/imageset":           "dockerfiles pkg/config pkg/dockerfile pkg/facts pkg/graph pkg/image pkg/render",
	"pkg/define":             "pkg/bootstrap pkg/build/buildkit pkg/compress pkg/config pkg/dockerfile pkg/engine pkg/engineload pkg/facts pkg/graph pkg/image pkg/imageref pkg/imageset pkg/registry pkg/render pkg/source pkg/squash pkg/store pkg/store/repair",
	"pkg/templates":          "pkg/config pkg/define pkg/graph pkg/imageset pkg/render pkg/workspace",
	"pkg/freshness":          "pkg/define pkg/image pkg/packages pkg/plan pkg/source pkg/store",
	"pkg/offline":            "pkg/build pkg/build/builderdir pkg/build/buildkit pkg/config pkg/define pkg/image pkg/inputs pkg/lock pkg/plan pkg/source pkg/store pkg/workspace",
	"pkg/build/imagebuilder": "pkg/build pkg/build/buildkit pkg/build/limits pkg/compress pkg/define pkg/dockerfile pkg/freshness pkg/image pkg/imageref pkg/inspect pkg/plan pkg/runstate pkg/squash pkg/store",
	"pkg/publish":            "pkg/build pkg/config pkg/image pkg/imageref pkg/plan pkg/registry pkg/registry/push pkg/store pkg/store/repair",
	"pkg/nightly":            "pkg/config pkg/plan pkg/publish pkg/registry pkg/store",
	"pkg/planview":           "pkg/graph pkg/image pkg/imageset pkg/plan pkg/publish pkg/report",
	"pkg/pipeline":           "pkg/build pkg/build/buildkit pkg/build/imagebuilder pkg/build/limits pkg/build/observe pkg/compress pkg/config pkg/define pkg/engine pkg/engineload pkg/explain pkg/freshness pkg/graph pkg/image pkg/imageref pkg/imageset pkg/inputs pkg/lock pkg/multiplatform pkg/nightly pkg/offline pkg/packages pkg/plan pkg/planview pkg/publish pkg/registry pkg/render pkg/report pkg/report/files pkg/runlogs pkg/runstate pkg/store pkg/store/repair pkg/trace pkg/workspace",
	"cmd/kolla-build":        "pkg/bootstrap pkg/cli pkg/config pkg/contract pkg/define pkg/explain pkg/facts pkg/imagediff pkg/imageref pkg/imageset pkg/nightly pkg/offline pkg/pipeline pkg/registry pkg/registry/server pkg/render pkg/report pkg/runlogs pkg/setcopy pkg/storecmd pkg/templates pkg/workspace profiles",
}

// shared lists the small packages with one subject each that every package may
// import. They import one another only as listed here.
var shared = map[string]string{
	"internal/apt":         "",
	"internal/asynchash":   "",
	"internal/atomicfile":  "",
	"internal/child":       "internal/units",
	"internal/console":     "internal/printable",
	"internal/ctxio":       "",
	"internal/disk":        "",
	"internal/emulator":    "",
	"internal/gcfloor":     "",
	"internal/filecopy":    "",
	"internal/filelock":    "",
	"internal/httpget":     "internal/retry",
	"internal/memo":        "",
	"internal/netns":       "",
	"internal/ocijson":     "",
	"internal/inputfile":   "internal/units",
	"internal/inifile":     "",
	"internal/partialfile": "internal/atomicfile internal/filelock",
	"internal/printable":   "",
	"internal/procmem":     "",
	"internal/pyjson":      "",
	"internal/redact":      "",
	"internal/regex":       "",
	"internal/retry":       "",
	"internal/rpmdb":       "",
	"internal/rundir":      "",
	"internal/stepproxy":   "internal/atomicfile internal/filelock internal/inputfile internal/redact",
	"internal/suggest":     "",
	"internal/textwrap":    "",
	"internal/transfer":    "internal/console internal/units",
	"internal/untar":       "internal/units",
	"internal/units":       "",
	"internal/usererr":     "internal/printable internal/redact",
}

// outside lists third-party packages that only some packages may import.
var outside = map[string]string{
	"github.com/moby/buildkit":                "pkg/build/buildkit pkg/dockerfile",
	"github.com/moby/patternmatcher":          "pkg/dockerfile",
	"github.com/distribution/distribution/v3": "pkg/registry/server",
	"golang.org/x/term":                       "internal/console pkg/report",
	"gopkg.in/ini.v1":                         "internal/inifile",
}

func TestOrderOfPackages(t *testing.T) {
	testenv.Inputs(t, "cmd", "dockerfiles", "internal", "pkg", "profiles", "go.mod", "go.sum")
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	seen := 0
	used, usedOutside := map[[2]string]bool{}, map[[2]string]bool{}
	for {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(p.ImportPath, module)
		permitted, isShared := shared[name]
		if strings.HasPrefix(name, "internal/") && !isShared {
			continue
		}
		seen++
		ok := isShared
		if !isShared {
			permitted, ok = allowed[name]
		}
		if !ok {
			t.Errorf("package %s has no place in the order: add it to allowed", name)
		}
		for _, imp := range p.Imports {
			used[[2]string{name, strings.TrimPrefix(imp, module)}] = true
			if own, ok := strings.CutPrefix(imp, module); ok && !slices.Contains(strings.Fields(permitted), own) {
				if _, ok := shared[own]; isShared || !ok {
					t.Errorf("%s must not import %s", name, own)
				}
			}
			for prefix, who := range outside {
				if imp != prefix && !strings.HasPrefix(imp, prefix+"/") {
					continue
				}
				usedOutside[[2]string{name, prefix}] = true
				if !slices.Contains(strings.Fields(who), name) {
					t.Errorf("%s must not import %s: that is for %s", name, imp, who)
				}
			}
			if name == "pkg/graph" && strings.Contains(imp, ".") && !strings.HasPrefix(imp, module) {
				t.Errorf("pkg/graph imports %s: it uses the standard library and shared packages only", imp)
			}
		}
	}
	for _, allowances := range []map[string]string{allowed, shared} {
		for name, permitted := range allowances {
			for _, imp := range strings.Fields(permitted) {
				if !used[[2]string{name, imp}] {
					t.Errorf("%s may import %s and does not: remove the allowance", name, imp)
				}
			}
		}
	}
	for prefix, who := range outside {
		for name := range strings.FieldsSeq(who) {
			if !usedOutside[[2]string{name, prefix}] {
				t.Errorf("%s may import %s and does not: remove the allowance", name, prefix)
			}
		}
	}
	if want := len(allowed) + len(shared); seen < want {
		t.Errorf("%d packages seen, %d in the order: remove what is gone", seen, want)
	}
}

// TestArchitectureNamesPackages checks that docs/architecture.md lists every package.
func TestArchitectureNamesPackages(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(testenv.RepoRoot(t), "docs", "architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	for name := range allowed {
		if strings.Contains(name, "/internal/") { // named with the package that they are part of
			continue
		}
		if name == "dockerfiles" || name == "profiles" {
			name += "/"
		}
		if !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("docs/architecture.md does not name %s", name)
		}
	}
}
