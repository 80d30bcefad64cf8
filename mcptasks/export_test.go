package mcptasks

import "time"

// SetKeepAlive has streams that begin from now on say more often that they live.
func (t *Tasks) SetKeepAlive(d time.Duration) { t.keepAlive = d }
