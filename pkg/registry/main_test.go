package registry_test

import (
	"testing"

	"github.com/kolla-build/kolla-build/internal/registrytest"
)

func TestMain(m *testing.M) { registrytest.Main(m) }
