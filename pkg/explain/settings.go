package explain

import (
	"maps"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/internal/redact"
	"github.com/kolla-build/kolla-build/pkg/config"
)

// essentialOptions decide the origin and the name of every image.
var essentialOptions = []string{"base", "base-tag", "base-image", "base-arch", "install-type", "openstack-release",
	"images-dir", "docker-dir", "template-override", "registry", "namespace", "image-name-prefix", "tag"}

// otherOption maps template variables to options with other names.
var otherOption = map[string]string{
	"base_distro":              "base",
	"base_distro_tag":          "base-tag",
	"distro_python_version":    "base-tag",
	"image_prefix":             "image-name-prefix",
	"infra_image_prefix":       "image-name-prefix",
	"install_metatype":         "install-type",
	"rpm_setup":                "rpm_setup_config",
	"supported_distro_name":    "base-tag",
	"supported_distro_release": "base-tag",
}

// optionOfVariable returns the option that decides a template variable, nil if no
// option does.
func optionOfVariable(name string) *config.Option {
	if other, ok := otherOption[name]; ok {
		name = other
	}
	// Templates set their variable config_dir themselves; no option decides it.
	if o := config.Lookup(name); o != nil && !o.CommandLineOnly {
		return o
	}
	return nil
}

// settings returns the relevant options, or all of them, and those that the user set
// and that affect the content of images.
func settings(cfg *config.Config, relevant map[string]bool, includeAll bool) []Setting {
	var found []Setting
	for _, o := range config.Options() {
		decides := slices.Contains([]config.Group{config.GroupBase, config.GroupRelease, config.GroupTree}, o.Group) ||
			o.Name == "network_mode"
		if o.Field() == "" || o.Positional || !includeAll && !relevant[o.Name] && !(decides && cfg.IsSet(o.Name)) {
			continue
		}
		found = append(found, setting(cfg, o.Name))
	}
	return found
}

func setting(cfg *config.Config, option string) Setting {
	value := cfg.Value(option)
	origin := cfg.Origin(option)
	s := Setting{Option: option, Value: mask(option, value), From: string(origin.Kind), text: cfg.Text(option)}
	if origin.Kind != config.OriginDefault {
		s.Where = origin.String()
	}
	// The typed text contains the values of a dictionary, such as proxies without a
	// scheme, which can only be recognized by their names.
	if dict, ok := value.(map[string]string); ok {
		for name, v := range dict {
			if masked := redact.Variable(name, v); masked != v {
				s.Where = strings.ReplaceAll(s.Where, v, masked)
				s.text = strings.ReplaceAll(s.text, v, masked)
			}
		}
	}
	s.Where, s.text = redact.InPlace(s.Where), redact.InPlace(s.text)
	return s
}

// mask returns a value with the credentials in its strings masked. name is the option,
// variable or key with the value.
func mask(name string, value any) any {
	switch v := value.(type) {
	case string:
		return redact.Variable(name, v)
	case []string:
		masked := slices.Clone(v)
		for i := range masked {
			masked[i] = redact.Variable(name, masked[i])
		}
		return masked
	case []any:
		masked := slices.Clone(v)
		for i := range masked {
			masked[i] = mask(name, masked[i])
		}
		return masked
	case map[string]string:
		masked := maps.Clone(v)
		for key := range masked {
			masked[key] = redact.Variable(key, masked[key])
		}
		return masked
	case map[string]any:
		masked := maps.Clone(v)
		for key := range masked {
			masked[key] = mask(key, masked[key])
		}
		return masked
	}
	return value
}
