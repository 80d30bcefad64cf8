package redislink

import (
	"fmt"
	"strconv"
)

// The statuses of a reply. A script names one only to refuse.
const (
	StatusOK       = "ok"
	StatusConflict = "conflict"
	StatusFull     = "full"
	StatusOverflow = "overflow"
	StatusCorrupt  = "corrupt"
	StatusUnknown  = "unknown" // of a resent write
)

// A Reply is what a script answers: a status, and a value that is a number for
// every status but corrupt.
type Reply struct {
	Status string
	Number uint64
	Reason string // of StatusCorrupt
	Write  int    // of a batch: the index of the write that was refused, from 0
	Resent bool   // an earlier copy of the write was lost, and may arrive late
}

// Decode accepts the replies that the scripts make. Any other one is an error that names
// the script.
func (s *Script) Decode(raw any) (Reply, error) {
	surprise := func() (Reply, error) { return Reply{}, s.Surprise(raw) }
	status, value, write := StatusOK, raw, 0
	if refusal, ok := raw.([]any); ok {
		if len(refusal) == 3 {
			nth, ok := refusal[2].(int64)
			if !ok || nth < 1 || nth > s.Writes {
				return surprise()
			}
			write, refusal = int(nth)-1, refusal[:2]
		}
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
	n, err := ParseNumber(text)
	switch status {
	case StatusOK, StatusFull:
		if err != nil {
			return surprise()
		}
	case StatusConflict, StatusOverflow, StatusUnknown: // a version, passed on as it was found
		if err != nil {
			return Reply{Status: StatusCorrupt, Write: write, Reason: "version is not a number"}, nil
		}
	case StatusCorrupt:
		return Reply{Status: status, Write: write, Reason: text}, nil
	default:
		return surprise()
	}
	return Reply{Status: status, Number: n, Write: write}, nil
}

func (s *Script) Surprise(raw any) error {
	return fmt.Errorf("script %s: %w of type %T", s.Name, ErrUnexpectedReply, raw)
}

// ParseNumber reads a decimal number as the scripts write it: no sign, no
// leading zero, at most 2^63-1.
func ParseNumber(s string) (uint64, error) {
	if s == "" || s[0] < '0' || s[0] > '9' || s[0] == '0' && s != "0" {
		return 0, strconv.ErrSyntax
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, strconv.ErrSyntax
	}
	return uint64(n), nil
}
