package define

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/pkg/dockerfile"
	"github.com/kolla-build/kolla-build/pkg/image"
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

// TestPatchesThatMayBeLost defines images with a series. An image fails before its build only
// if nothing can apply its patches, and only a patch that kolla_patch, or nothing, could have
// applied must be in the list of the built image.
func TestPatchesThatMayBeLost(t *testing.T) {
	const none, lost = "", "lost"
	from := "FROM {{ namespace }}/parent:{{ tag }}\n"
	copied := from + "COPY patches /patches\n"
	for _, c := range []struct {
		name, svc string
		others    map[string]string // more images
		want      string            // why the patch may be lost, lost if it then is, or an error; none if a step applies it
	}{
		{name: "not copied", svc: from + "RUN kolla_patch\n", want: "patches of svc: its template does not copy them"},
		{name: "no step", svc: copied, want: "no RUN instruction after this one applies the patches"},
		{name: "kolla_patch", svc: copied + "RUN kolla_patch\n", want: lost},
		{name: "kolla_patch in a stage of the result", svc: strings.Replace(copied, "\n", " AS first\n", 1) +
			"RUN kolla_patch\nFROM first\nRUN true\n", want: lost},
		{name: "another step", svc: copied + "RUN useradd nova\n", want: lost},
		{name: "not parsed", svc: copied + "NOSUCH\n", want: "unknown instruction: NOSUCH"},

		{name: "a: copied from a stage", svc: strings.Replace(copied, "\n", " AS build\n", 1) +
			"RUN kolla_patch\n" + from + "COPY --from=build /venv /venv\nRUN kolla_patch\n", want: "a step of its Dockerfile"},
		{name: "b: script", svc: copied + "RUN bash /patches/apply.sh\n", want: "a step of its Dockerfile"},
		{name: "b: script with a similar name", svc: copied + "RUN /opt/my_kolla_patch.sh\n",
			want: "a step of its Dockerfile"},
		{name: "b: adopt", svc: copied + "RUN kolla_patch adopt /root\n", want: "a step of its Dockerfile"},
		{name: "kolla_patch with a path", svc: copied + "RUN true && /usr/local/bin/kolla_patch sources; true\n", want: lost},
		{name: "b: other script", svc: copied + "WORKDIR /patches\nRUN ./all.sh\n", want: "a step of its Dockerfile"},
		{name: "b: Python", svc: copied + "RUN python3 -m patch /patches/fix.patch\n", want: none},
		{name: "b: gpatch", svc: copied + "RUN gpatch -i /patches/fix.patch\n", want: none},
		{name: "b: busybox", svc: copied + "RUN busybox patch -i /patches/fix.patch\n", want: none},
		{name: "c: if", svc: copied + "RUN if patch -i /patches/fix.patch; then true; fi\n", want: none},
		{name: "c: sudo", svc: copied + "RUN sudo -u nova patch -i /patches/fix.patch\n", want: none},
		{name: "c: timeout", svc: copied + "RUN timeout 60 patch -i /patches/fix.patch\n", want: none},
		{name: "c: env", svc: copied + "RUN env -C /src patch -i /patches/fix.patch\n", want: none},
		{name: "c: parallel", svc: copied + "RUN parallel patch -i ::: /patches/fix.patch\n", want: none},
		{name: "d: working directory", svc: from + "COPY patches /work/p\nWORKDIR /work/p\nRUN for i in *; do patch <$i; done\n",
			want: "a step of its Dockerfile"},
		{name: "d: directory", svc: from + "COPY patches /work/p\nRUN fix /work/p\n", want: "a step of its Dockerfile"},

		{name: "e: child", svc: copied, others: map[string]string{"child": "FROM {{ namespace }}/svc:{{ tag }}\nRUN quilt push -a\n"},
			want: "its descendant child"},
		{name: "e: child that does not", svc: copied,
			others: map[string]string{"child": "FROM {{ namespace }}/svc:{{ tag }}\nRUN true\n"},
			want:   "no RUN instruction after this one"},
		{name: "e: ONBUILD", svc: copied + "ONBUILD RUN /all\n", want: "an ONBUILD instruction"},
		{name: "e: ONBUILD of the parent", svc: "FROM {{ namespace }}/triggers:{{ tag }}\n",
			others: map[string]string{"triggers": "FROM scratch\nONBUILD COPY patches /p\nONBUILD RUN /all\n"},
			want:   "an ONBUILD instruction of kolla/triggers:t"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t)
			if err := os.RemoveAll(filepath.Join(s.dir, "tree")); err != nil {
				t.Fatal(err)
			}
			s.host = "localhost:1" // no image is read from it
			s.write("tree/parent/Dockerfile.j2", "FROM scratch\nENV A=1\n")
			s.write("tree/svc/Dockerfile.j2", c.svc)
			for name, content := range c.others {
				s.write("tree/"+name+"/Dockerfile.j2", content)
			}
			s.write("patches/svc/series", "fix.patch\n")
			s.write("patches/svc/fix.patch", "--- a\n")
			d, err := s.define(nil, "--patches-path", filepath.Join(s.dir, "patches"))
			if err != nil {
				t.Fatal(err)
			}
			svc := d.Image(image.ID{Name: "svc"})
			got := svc.PatchedElsewhere
			switch {
			case svc.Err != nil:
				got = svc.Err.Error()
			case len(svc.Patches) == 0:
				got = none
			case got == "":
				got = lost
			}
			if got != c.want && (c.want == none || !strings.Contains(got, c.want)) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
