// Package parts splits a stream into files that can be verified one by one, with
// parity files from which lost or damaged ones are restored. It owns the format of
// these files; it must not know what is in the stream.
//
// A part is a header of 1,024 bytes and its payload. The header is one line of JSON,
// padded with spaces, so that "head -1 FILE" identifies a file. The payloads of the
// data parts, in order, are the stream. All but the last one have the same size. Parity
// parts are computed with Reed-Solomon codes over the payloads; shorter payloads are
// padded with zeros to a multiple of 64 bytes.
package parts
