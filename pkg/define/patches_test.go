package define

import (
	"testing"

	"github.com/kolla-build/kolla-build/pkg/dockerfile"
)

func TestAppliedBySteps(t *testing.T) {
	for step, want := range map[string]bool{
		"patch -p1 < /patches/fix.patch":                                true,
		"cd /src && patch -d /x -p1 -i /tmp/fix.patch":                  true,
		"patch -p1 -i /patches/sub/fix.patch":                           true,
		"/usr/bin/patch -p1 < fix.patch":                                true,
		"git -C /src apply /patches/fix.patch":                          true,
		"git am --quiet /patches/*.patch":                               true,
		"for p in $(cat /patches/series); do patch < /patches/$p; done": true,
		"for p in /copied/*; do\npatch -p1 <$p\ndone":                   true,
		"cat /patches/*|patch -p1":                                      true,
		"find /patches -type f | xargs -n 1 patch -p1 -i":               true,
		"find /patches -type f -exec patch -p1 -i {} ;":                 true,
		"QUILT_PATCHES=/copied quilt push -a":                           true,
		"if ! patch -p0 < \"/patches/$name\"; then exit 1; fi":          true,
		"sh -c \"patch -p1 < '/patches/fix.patch'\"":                    true,
		"<<EOF\nset -e\npatch -p1 </copied/fix.patch\n":                 true,

		"kolla_patch":                                         false,
		"kolla_patch sources /nova":                           false,
		"patch -p1 < /patches/other.patch":                    false,
		"patch -p1 < /patches/not-fix.patch":                  false,
		"patch -p1 < /copied/other.patch":                     false,
		"patch -p1 < /elsewhere/$name":                        false,
		"apt-get install -y patch quilt && ls /patches":       false,
		"ls /patches/fix.patch":                               false,
		"cp /patches/fix.patch /tmp && rm -r /patches":        false,
		"git clone https://host/x && cp /patches/fix.patch x": false,
		"patch -p1 < /copied2/$name":                          false,
	} {
		access := dockerfile.Access{Line: 1, Targets: []string{"/copied/"}, Steps: []string{"true", step}}
		if got := appliedBySteps("sub/fix.patch", access); got != want {
			t.Errorf("%s: %v, want %v", step, got, want)
		}
	}
}
