package mcptasks

import "testing"

// An anonymous task's id ends with a dash and its bucket; ids of any other form have no
// owner.
func TestAnonymousIDsNameTheirBucket(t *testing.T) {
	for id, want := range map[string]bool{
		"a-0f": true, "a-b-0f": true,
		"": false, "-": false, "-0f": false, "0f": false, "a-": false, "a-f": false, "a-0ff": false, "a-0F": false, "a-0g": false,
	} {
		owner, stored, ok := tenant{}.stored(id)
		if ok != want || ok && wireID(owner, stored) != id || !ok && owner+stored != "" {
			t.Errorf("%q is task %q of %q: %v", id, stored, owner, ok)
		}
	}
}
