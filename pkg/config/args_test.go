package config

import "testing"

// --keep is upstream's switch; with a number it means the sets that stay.
func TestKeepWithANumber(t *testing.T) {
	for arg, want := range map[string]struct {
		keep   bool
		retain string
	}{
		"--keep":      {true, ""},
		"--keep=true": {true, ""},
		"--keep=1":    {true, ""},
		"--keep=0":    {false, ""},
		"--keep=14":   {false, "14"},
		"--keep=30d":  {false, "30d"},
		"--nokeep":    {false, ""},
		"--retain=1":  {false, "1"},
	} {
		cfg, err := Load(Input{Args: []string{arg, "nova"}, Env: []string{"HOME=/home/someone"}})
		if err != nil {
			t.Errorf("%s: %v", arg, err)
			continue
		}
		if cfg.Keep != want.keep || cfg.Retain != want.retain || len(cfg.Regex) != 1 {
			t.Errorf("%s: keep %v, retain %q, regex %q", arg, cfg.Keep, cfg.Retain, cfg.Regex)
		}
	}
	if _, err := Load(Input{Args: []string{"--keep=14x"}, Env: []string{"HOME=/home/someone"}}); err == nil {
		t.Error("--keep=14x was taken")
	}
}
