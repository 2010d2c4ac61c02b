// Package faultproxy is an HTTP proxy that injects faults into requests, as networks
// and overloaded servers do: at random requests, drawn from a seed, it drops the
// connection, breaks it in the middle of a body, stalls, ends a body too early,
// answers 429, 500, 502 or 503, or changes a byte.
//
// It runs between the program under test and a real registry or mirror, as a reverse
// proxy with a target, or without one as the forward proxy of http_proxy. It is for
// tests and must not know the program under test.
package faultproxy
