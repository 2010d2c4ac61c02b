// Package build runs a plan: it schedules images as their parents finish, hands
// them to a builder, keeps logs and reports events. It knows no builder by name;
// its buildkit subpackage is the one that does.
package build
