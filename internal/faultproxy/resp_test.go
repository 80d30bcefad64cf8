package faultproxy

import (
	"bufio"
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func reader(text string) *bufio.Reader {
	// Less than a line at a time.
	return bufio.NewReaderSize(strings.NewReader(text), 16)
}

func TestRepliesAreReadWhole(t *testing.T) {
	for _, reply := range []string{
		"+OK\r\n", "-ERR no\r\n", ":12\r\n", "_\r\n", "#t\r\n", ",1.5\r\n", "(123\r\n",
		"$0\r\n\r\n", "$5\r\na\r\nbc\r\n", "$-1\r\n", "=7\r\ntxt:abc\r\n", "!3\r\nERR\r\n",
		"*0\r\n", "*-1\r\n", "*2\r\n$1\r\na\r\n*1\r\n:1\r\n", "~1\r\n:1\r\n",
		"%1\r\n+key\r\n*1\r\n:1\r\n", "|1\r\n+ttl\r\n:3\r\n:7\r\n",
		"+a line that is longer than the buffer of the reader\r\n",
	} {
		for _, prefix := range []string{"", "*2\r\n:1\r\n"} {
			raw, push, err := readReply(reader(prefix + reply + "+next\r\n"))
			assert.NoError(t, err)
			assert.False(t, push)
			assert.Equal(t, prefix+reply, string(raw))
		}
	}
	raw, push, err := readReply(reader(">2\r\n+message\r\n$1\r\nx\r\n+next\r\n"))
	assert.NoError(t, err)
	assert.True(t, push)
	assert.Equal(t, ">2\r\n+message\r\n$1\r\nx\r\n", string(raw))
}

func TestRequestsAreReadWhole(t *testing.T) {
	for request, want := range map[string][]string{
		"*2\r\n$3\r\nGET\r\n$3\r\n\r\nx\r\n": {"GET", "\r\nx"},
		"*1\r\n$0\r\n\r\n":                   {""},
		"PING  a\r\n":                        {"PING", "a"},
		"PING\n":                             {"PING"},
	} {
		raw, args, err := ReadRequest(reader(request + "*1\r\n$4\r\nNEXT\r\n"))
		assert.NoError(t, err)
		assert.Equal(t, request, string(raw))
		assert.Equal(t, want, args)
	}
}

func TestOtherProtocolsAreErrors(t *testing.T) {
	for _, text := range []string{
		"", "\r\n", "x\r\n", "$x\r\n", "$5\r\nabc", "*-2\r\n", "*99999999999\r\n", "$-2\r\n", "*1\r\n",
		"+no end", strings.Repeat("*1\r\n", 100),
	} {
		_, _, err := readReply(reader(text))
		assert.Error(t, err, "%q", text)
	}
	for _, text := range []string{"", "*x\r\n", "*1\r\n+OK\r\n", "*1\r\n$-1\r\n", "*1\r\n$9\r\nabc"} {
		_, _, err := ReadRequest(reader(text))
		assert.Error(t, err, "%q", text)
	}
}

// For any input, a frame is the beginning of it and ends the same when it is read again.
func FuzzFrames(f *testing.F) {
	for _, seed := range []string{"*2\r\n$3\r\nGET\r\n$1\r\nx\r\n", "%1\r\n+a\r\n|1\r\n+b\r\n:1\r\n_\r\n", "$3\r\nabc\r\n", "PING\r\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		read := map[string]func(*bufio.Reader) ([]byte, error){
			"reply": func(r *bufio.Reader) ([]byte, error) { raw, _, err := readReply(r); return raw, err },
			"request": func(r *bufio.Reader) ([]byte, error) {
				raw, args, err := ReadRequest(r)
				if err == nil && len(args) == 0 {
					t.Error("a command without words")
				}
				return raw, err
			},
		}
		for name, read := range read {
			raw, err := read(bufio.NewReader(bytes.NewReader(data)))
			if err != nil {
				continue
			}
			if name == "reply" && !bytes.HasPrefix(data, raw) || !bytes.Contains(data, raw) {
				t.Fatalf("%s: %q is not of %q", name, raw, data)
			}
			again, err := read(bufio.NewReader(bytes.NewReader(raw)))
			if err != nil || !bytes.Equal(raw, again) {
				t.Fatalf("%s: %q is read again as %q: %v", name, raw, again, err)
			}
		}
	})
}
