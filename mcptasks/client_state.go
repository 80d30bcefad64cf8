package mcptasks

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/tasks"
)

// A taskState is a server's description of a task. It reads leniently: if a hint is
// wrong, such as the poll interval, the rest counts.
type taskState struct {
	mcp.ResultBase
	id            string
	status        tasks.Status
	statusMessage string
	pollInterval  time.Duration              // as suggested; 0: not suggested
	questions     map[string]json.RawMessage // requests for input
	unreadable    bool                       // the requests for input are
	result        json.RawMessage
	failure       json.RawMessage
}

// UnmarshalJSON reads the fields that can be read.
func (s *taskState) UnmarshalJSON(data []byte) error {
	*s = *readState(data)
	return nil
}

func readState(data []byte) *taskState {
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(data, &fields)
	s := &taskState{
		id:            textOf(fields["taskId"]),
		status:        tasks.Status(textOf(fields["status"])),
		statusMessage: textOf(fields["statusMessage"]),
		pollInterval:  milliseconds(fields["pollIntervalMs"]),
		result:        fields["result"],
		failure:       fields["error"],
	}
	if asked := fields["inputRequests"]; asked != nil {
		s.unreadable = json.Unmarshal(asked, &s.questions) != nil
	}
	return s
}

// textOf returns the string that raw is, and "" for anything else.
func textOf(raw json.RawMessage) string {
	var s string
	if len(raw) == 0 || json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// number returns the number that raw is, also within a string, and NaN for
// anything else. One that is too large for a float64 is infinite.
func number(raw json.RawMessage) float64 {
	digits := textOf(raw)
	if digits == "" {
		digits = string(raw)
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return math.NaN()
	}
	return n
}

// longest bounds each duration that a server suggests.
const longest = 24 * time.Hour

// milliseconds returns the time that raw says, at most longest, or 0.
func milliseconds(raw json.RawMessage) time.Duration {
	switch n := number(raw); {
	case n >= float64(longest/time.Millisecond):
		return longest
	case n > 0:
		return time.Duration(n * float64(time.Millisecond))
	}
	return 0 // also for NaN
}

// interval returns how long to wait before the task is looked at again.
func (c *taskClient) interval(task *taskState) time.Duration {
	suggested := task.pollInterval
	if suggested == 0 {
		suggested = time.Second
	}
	return min(max(suggested, c.opts.MinPollInterval), c.opts.MaxPollInterval)
}

// outcome returns the task's result or error.
func (s *taskState) outcome() (*mcp.CallToolResult, error) {
	switch s.status {
	case tasks.Completed:
		res := new(mcp.CallToolResult)
		if !bytes.HasPrefix(s.result, []byte("{")) {
			return nil, invalid("a completed task without a result")
		}
		if err := guarded(func() error { return json.Unmarshal(s.result, res) }); err != nil {
			return nil, invalid("the task's result: %w", err)
		}
		return res, nil
	case tasks.Failed:
		return nil, readError(s.failure)
	}
	return nil, ErrCancelled
}

// readError returns the error of a task that failed.
func readError(raw json.RawMessage) *jsonrpc.Error {
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(raw, &fields)
	e := &jsonrpc.Error{Code: jsonrpc.CodeInternalError, Message: textOf(fields["message"]), Data: fields["data"]}
	if n := number(fields["code"]); math.Abs(n) < 1<<53 {
		e.Code = int64(n)
	}
	if e.Message == "" {
		e.Message = "the task failed"
	}
	return e
}

// decodeFirst decodes the JSON value at the beginning of data and ignores the rest, as
// the SDK does.
func decodeFirst(data []byte, v any) error {
	return json.NewDecoder(bytes.NewReader(data)).Decode(v)
}
