#!/bin/sh
# Keep packages from starting services while an image is built.
exit 101
