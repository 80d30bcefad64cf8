package main

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
)

// What servers and clients have stored may hold sequences that move a terminal's cursor,
// set its title or write to its clipboard, and characters that turn the order of a line
// around. All that is printed goes through here.

// safeText returns s without such sequences and characters; lines stay.
func safeText(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || !hidden(r) {
			return r
		}
		return -1
	}, ansi.Strip(strings.ToValidUTF8(s, string(utf8.RuneError))))
}

// safeLine is safeText in one line.
func safeLine(s string) string {
	return strings.Join(strings.Fields(safeText(s)), " ")
}

// hidden reports whether a terminal does not simply show r.
func hidden(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}

// safeJSON returns JSON in which such characters are escaped; what it means is the same.
func safeJSON(encoded []byte) []byte {
	text := strings.ToValidUTF8(string(encoded), string(utf8.RuneError))
	if strings.IndexFunc(text, func(r rune) bool { return r != '\n' && hidden(r) }) < 0 {
		return []byte(text)
	}
	var w strings.Builder
	for _, r := range text {
		if r != '\n' && hidden(r) {
			fmt.Fprintf(&w, `\u%04x`, r) // all of them are within the first plane
		} else {
			w.WriteRune(r)
		}
	}
	return []byte(w.String())
}
