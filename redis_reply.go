package taskstore

import (
	"errors"
	"fmt"
	"strconv"
)

// The statuses of a reply. Only a script that refuses names one.
const (
	statusOK       = "ok"
	statusConflict = "conflict"
	statusFull     = "full"
	statusOverflow = "overflow"
	statusCorrupt  = "corrupt"
	statusUnknown  = "unknown" // of a resent write
)

// A reply is what a script answers: a status, and a value that is a number for
// every status but corrupt.
type reply struct {
	status string
	number uint64
	reason string // of statusCorrupt
	resent bool   // an earlier copy of the write was lost, and may be late
}

// errUnexpectedReply is no fault that passes.
var errUnexpectedReply = errors.New("unexpected reply")

// decodeReply accepts what the scripts say and nothing else: anything that
// surprises is an error that names the script.
func (s *script) decodeReply(raw any) (reply, error) {
	surprise := func() (reply, error) { return reply{}, s.surprise(raw) }
	status, value := statusOK, raw
	if refusal, ok := raw.([]any); ok {
		if len(refusal) != 2 {
			return surprise()
		}
		if status, ok = refusal[0].(string); !ok {
			return surprise()
		}
		value = refusal[1]
	}
	text, ok := value.(string)
	if !ok {
		return surprise()
	}
	n, err := parseVersion(text)
	switch status {
	case statusOK, statusFull:
		if err != nil {
			return surprise()
		}
	case statusConflict, statusOverflow, statusUnknown: // a version, passed on as it was found
		if err != nil {
			return reply{status: statusCorrupt, reason: "version is not a number"}, nil
		}
	case statusCorrupt:
		return reply{status: status, reason: text}, nil
	default:
		return surprise()
	}
	return reply{status: status, number: n}, nil
}

func (s *script) surprise(raw any) error {
	return fmt.Errorf("script %s: %w of type %T", s.name, errUnexpectedReply, raw)
}

// parseVersion reads a decimal number as the scripts write it: no sign, no
// leading zero, at most MaxVersion.
func parseVersion(s string) (uint64, error) {
	if s == "" || s[0] < '0' || s[0] > '9' || s[0] == '0' && s != "0" {
		return 0, strconv.ErrSyntax
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, strconv.ErrSyntax
	}
	return uint64(n), nil
}
