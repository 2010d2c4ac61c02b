package image

import (
	"encoding/json"
	"testing"
)

func TestTextForm(t *testing.T) {
	for text, id := range map[string]ID{
		"":                {},
		"nova-api":        {Name: "nova-api"},
		"nova-api@arm64":  {Name: "nova-api", Platform: "linux/arm64"},
		"nova-api@arm-v7": {Name: "nova-api", Platform: "linux/arm/v7"},
	} {
		if got := id.String(); got != text {
			t.Errorf("%#v.String() = %q, want %q", id, got, text)
		}
		if got := parse(text); got != id {
			t.Errorf("Parse(%q) = %#v, want %#v", text, got, id)
		}
	}
}

func TestJSONForm(t *testing.T) {
	in := map[ID][]ID{{Name: "child", Platform: "linux/arm64"}: {{Name: "base", Platform: "linux/arm64"}}}
	data, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(data), `{"child@arm64":["base@arm64"]}`; got != want {
		t.Errorf("marshalled as %s, want %s", got, want)
	}
	var out map[ID][]ID
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	if got := out[ID{Name: "child", Platform: "linux/arm64"}]; len(got) != 1 || got[0].Name != "base" {
		t.Errorf("unmarshalled as %v", out)
	}
}
