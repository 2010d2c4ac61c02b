package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// renderBase renders a tree with a base image for a command line and returns its
// Dockerfile.
func renderBase(t *testing.T, template, line string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "tree", "base"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tree", "base", "Dockerfile.j2"), []byte(template), 0o644); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"--images-dir", filepath.Join(dir, "tree"), "--template-only", "--work-dir",
		filepath.Join(dir, "out")}, strings.Fields(line)...)
	var out bytes.Buffer
	if code := run(args, []string{"HOME=" + dir, "KOLLA_BUILD_DATA_DIR=" + filepath.Join(dir, "data")},
		&out, &out); code != exitOK {
		t.Fatalf("kolla-build %s: exit status %d\n%s", line, code, out.String())
	}
	got, err := os.ReadFile(filepath.Join(dir, "out", "docker", "base", "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(got))
}

// TestMinorAndDatedBaseTags checks the release that a base image's tag contains (field
// case 01).
func TestMinorAndDatedBaseTags(t *testing.T) {
	for line, want := range map[string]string{
		"-b rocky --base-tag 9 --openstack-release 2025.1":                  "rocky:9 Rocky Linux 9.* (Blue Onyx) python3.9",
		"-b rocky --base-tag 9.6 --openstack-release 2025.1":                "rocky:9.6 Rocky Linux 9.* (Blue Onyx) python3.9",
		"-b rocky --base-tag 9.5.20241118 --openstack-release 2025.1":       "rocky:9.5.20241118 Rocky Linux 9.* (Blue Onyx) python3.9",
		"-b ubuntu --base-tag jammy-20240627.1 --openstack-release 2024.1":  "ubuntu:jammy-20240627.1 Ubuntu 22.04.* LTS python3.10",
		"-b debian --base-tag bookworm-20250428 --openstack-release 2025.1": "debian:bookworm-20250428 Debian GNU/Linux 12 (bookworm) python3.11",
		"-b debian --base-tag 12.10-slim --openstack-release 2025.1":        "debian:12.10-slim Debian GNU/Linux 12 (bookworm) python3.11",
		"-b centos --base-tag 9 --openstack-release 2025.1":                 "centos:9 CentOS Stream 9 python3.9",
		"-b debian --base-tag site-7 --openstack-release 2025.1":            "debian:site-7 Debian GNU/Linux 12 (bookworm) python3.11",
		"-b debian --base-tag trixie --openstack-release 2025.1":            "debian:trixie Debian GNU/Linux 13 (trixie) python3.13",
	} {
		got := renderBase(t, "{{ base_distro }}:{{ base_distro_tag }} {{ supported_distro_release }} python{{ distro_python_version }}", line)
		if got != want {
			t.Errorf("kolla-build %s: %s, want %s", line, got, want)
		}
	}
}

// TestDefaultBaseTags checks the default base image of OpenStack releases (field case 02).
func TestDefaultBaseTags(t *testing.T) {
	for line, want := range map[string]string{
		"-b rocky --openstack-release 2024.1":                    "FROM quay.io/rockylinux/rockylinux:9",
		"-b rocky --openstack-release 2025.1":                    "FROM quay.io/rockylinux/rockylinux:9",
		"-b debian --openstack-release 2025.1":                   "FROM debian:bookworm",
		"-b debian --openstack-release 2025.2":                   "FROM debian:bookworm",
		"-b centos --openstack-release 2025.1":                   "FROM quay.io/centos/centos:stream9",
		"-b ubuntu --openstack-release 2024.1":                   "FROM ubuntu:22.04",
		"-b debian":                                              "FROM debian:trixie",
		"-b debian --openstack-release 2025.1 --base-tag trixie": "FROM debian:trixie",
	} {
		if got := renderBase(t, "FROM {{ base_image }}:{{ base_distro_tag }}", line); got != want {
			t.Errorf("kolla-build %s: %s, want %s", line, got, want)
		}
	}
}

// TestBuildDate checks the variable build_date, which templates of releases until
// 2026.1 use (field case 13).
func TestBuildDate(t *testing.T) {
	got := renderBase(t, `LABEL build-date="{{ build_date }}"`, "-b debian --openstack-release 2026.1")
	day := regexp.MustCompile(`^LABEL build-date="(\d{8})"$`).FindStringSubmatch(got)
	if day == nil {
		t.Fatal(got)
	}
	date, err := time.Parse("20060102", day[1])
	if err != nil || time.Since(date) < 0 || time.Since(date) > 48*time.Hour {
		t.Errorf("%s: %v", got, err)
	}
}

// TestPinnedBaseTag checks that a digest pins the base image and is not part of the
// images' default tag (field case 15).
func TestPinnedBaseTag(t *testing.T) {
	digest := "sha256:" + strings.Repeat("5", 64)
	got := renderBase(t, "FROM {{ base_image }}:{{ base_distro_tag }} {{ tag }} {{ supported_distro_release }}",
		"-b debian --base-tag bookworm@"+digest)
	if want := "FROM debian:bookworm@" + digest + " master-debian-bookworm Debian GNU/Linux 12 (bookworm)"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	var out bytes.Buffer
	code := run([]string{"-b", "debian", "--base-image", "debian@" + digest, "--list-images"},
		[]string{"HOME=" + t.TempDir()}, &out, &out)
	if want := "--base-image debian --base-tag trixie@" + digest; code != exitUsage ||
		!strings.Contains(out.String(), want) {
		t.Errorf("--base-image with a digest: exit status %d\n%s", code, out.String())
	}
}
