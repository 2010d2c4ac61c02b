// Package faultproxy is an HTTP proxy that does to requests what networks and
// tired servers do to them: at random requests, drawn from a seed, it drops the
// connection, breaks it off in the middle of a body, stands still, ends a body
// too early, answers 429, 500, 502 or 503, or changes a byte.
//
// It stands between the program under test and a real registry or a real
// mirror, as a reverse proxy with a target or, without one, as the forward proxy
// that http_proxy names. It is for tests alone and knows nothing of the project.
package faultproxy
