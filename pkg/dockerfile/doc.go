// Package dockerfile reads rendered Dockerfiles with BuildKit's parser: their
// stages, the images that they refer to, the build context files that they use
// and what their ADD instructions download. It is the only reader of
// Dockerfiles in this module.
//
// It must not know templates, builders, stores or registries.
package dockerfile
