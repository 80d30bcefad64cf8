package mcptasks

import (
	"encoding/json"
	"strconv"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/taskstore/taskstore/tasks"
)

// A checkpoint is the State of a task in the store: the handler's own state, and the data
// that a call of the handler with answers takes.
type checkpoint struct {
	User  []byte `json:"user,omitempty"`
	Round *round `json:"round,omitempty"` // the last one, stored along with its questions
}

// A round is one request for input.
type round struct {
	RequestState string            `json:"requestState,omitempty"`
	Keys         map[string]string `json:"keys"` // from the wire's to the handler's
}

func decodeCheckpoint(state []byte) (c checkpoint, err error) {
	if len(state) > 0 {
		err = json.Unmarshal(state, &c)
	}
	return c, err
}

func (c *checkpoint) encode() ([]byte, error) { return json.Marshal(c) }

// ask returns the questions under keys that the task has not used, and the
// checkpoint with them.
func (c checkpoint) ask(requests mcp.InputRequestMap, requestState string, used []string) (checkpoint, map[string]json.RawMessage, error) {
	encoded, err := json.Marshal(requests)
	if err != nil {
		return c, nil, err
	}
	var byKey map[string]json.RawMessage
	if err := json.Unmarshal(encoded, &byKey); err != nil {
		return c, nil, err
	}
	taken := make(map[string]bool)
	for _, key := range used {
		taken[key] = true
	}
	questions := make(map[string]json.RawMessage, len(requests))
	c.Round = &round{RequestState: requestState, Keys: make(map[string]string, len(requests))}
	for key := range requests {
		wire := key
		for n := 2; taken[wire] || wire != key && requests[wire] != nil; n++ {
			wire = key + "#" + strconv.Itoa(n)
		}
		taken[wire] = true
		questions[wire] = byKey[key]
		c.Round.Keys[wire] = key
	}
	return c, questions, nil
}

// answers puts the answers of t into params, as the handler asked for them. Without
// answers params stay those of the first call.
func (c checkpoint) answers(t *tasks.Task, params *mcp.CallToolParamsRaw) error {
	if c.Round == nil {
		return nil
	}
	byKey := make(map[string]json.RawMessage)
	for wire, key := range c.Round.Keys {
		if answer, ok := t.InputResponses[wire]; ok {
			byKey[key] = answer
		}
	}
	if len(byKey) == 0 {
		return nil
	}
	encoded, err := json.Marshal(byKey)
	if err != nil {
		return err
	}
	params.InputResponses = nil
	params.RequestState = c.Round.RequestState
	return json.Unmarshal(encoded, &params.InputResponses)
}
