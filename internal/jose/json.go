package jose

import (
	"errors"
	"sync"
)

const (
	// maxDepth is how deep objects and arrays may nest; the outermost object is 1.
	maxDepth = 32

	// maxFolded is how many bytes the names that are not ASCII may have in total. Finding a letter's other cases takes
	// 50 ns, and a token, which anybody can send, has room for thousands of letters.
	maxFolded = 2048
)

var (
	errSyntax    = errors.New("not a JSON object, or malformed JSON")
	errUnicode   = errors.New("invalid UTF-8 or a lone surrogate in a JSON string")
	errNumber    = errors.New("a number beyond what a float64 holds")
	errDepth     = errors.New("nested deeper than 32")
	errDuplicate = errors.New("two members of one object have the same name, letter case aside")
	errNames     = errors.New("more than 2048 bytes of names that are not ASCII")
)

// A member is one member of a JSON object.
type member struct {
	name   string // decoded
	folded string // the name in folded letter case
	value  string // its own text, which is valid JSON
	plain  bool   // the value is a string without escapes
}

// str decodes the member's value; ok says that it is a string.
func (m member) str() (s string, ok bool) {
	if m.plain {
		return m.value[1 : len(m.value)-1], true
	}
	return stringValue(m.value)
}

// walkObject reads s as exactly one JSON object and calls visit, which may be nil, for each of its members.
//
// It is stricter than encoding/json, because a text that two parsers read differently can be used to attack one of
// them: duplicate members are refused at any depth (RFC 8259 section 4 leaves open which one wins), and so are two
// names that differ in letter case only, since encoding/json takes both for the same field; invalid UTF-8 and lone
// surrogates are refused, since encoding/json turns them all into U+FFFD and so makes two subjects one.
func walkObject(s string, visit func(member) error) error {
	sc := scanner{s: s}
	i := skipSpace(s, 0)
	if byteAt(s, i) != '{' {
		return errSyntax
	}
	end, err := sc.object(i, visit)
	if err != nil {
		return err
	}
	if skipSpace(s, end) != len(s) {
		return errSyntax
	}
	return nil
}

// CheckObject refuses what is not strictly one JSON object, as walkObject does.
func CheckObject(data []byte) error { return walkObject(string(data), nil) }

// StringMember returns a member of data as a string. data must be strictly one JSON object, and must have the member.
func StringMember(data []byte, name string) (string, error) {
	found, s := false, ""
	err := walkObject(string(data), func(m member) error {
		if m.name == name {
			s, found = m.str()
		}
		return nil
	})
	if err == nil && !found {
		err = errors.New(name + ": missing, or not a string")
	}
	return s, err
}

// walkArray calls visit with the text of each element of s, which must be a JSON array that a scanner has read
// before, as part of an object.
func walkArray(s string, visit func(value string) error) error {
	sc := scanner{s: s}
	_, err := sc.array(0, visit)
	return err
}

// A scanner reads one JSON text. Its methods are told where to begin and return where they ended: unlike a field, the
// compiler keeps such a position in a register.
type scanner struct {
	s      string
	depth  int
	folded int // bytes of names that are not ASCII
	// The n folded names seen so far in each object being read, the innermost object's last. The first ones are in an
	// array, not in a slice, so that they stay on the stack.
	first [fewNames]string
	more  []string
	n     int
}

// fewNames is how many names of an object are compared with each other; a map takes over if there are more.
const fewNames = 24

func (sc *scanner) value(i int) (end int, err error) {
	switch byteAt(sc.s, i) {
	case '{':
		return sc.object(i, nil)
	case '[':
		return sc.array(i, nil)
	case '"':
		end, _, err = scanString(sc.s, i)
		return end, err
	case 't':
		return scanLiteral(sc.s, i, "true")
	case 'f':
		return scanLiteral(sc.s, i, "false")
	case 'n':
		return scanLiteral(sc.s, i, "null")
	default:
		return scanNumber(sc.s, i)
	}
}

func (sc *scanner) object(i int, visit func(member) error) (end int, err error) {
	if sc.depth++; sc.depth > maxDepth {
		return i, errDepth
	}
	seen := names{begin: sc.n}
	end, err = sc.members(i+1, &seen, visit)
	seen.forget()
	sc.n = seen.begin
	sc.depth--
	return end, err
}

func (sc *scanner) members(i int, seen *names, visit func(member) error) (end int, err error) {
	s := sc.s
	i = skipSpace(s, i)
	if byteAt(s, i) == '}' {
		return i + 1, nil
	}
	for {
		var m member
		if m.name, m.folded, i, err = sc.name(i); err != nil {
			return i, err
		}
		if !sc.add(seen, m.folded) {
			return i, errDuplicate
		}
		i = skipSpace(s, i)
		if byteAt(s, i) != ':' {
			return i, errSyntax
		}
		i = skipSpace(s, i+1)
		if byteAt(s, i) == '"' {
			end, m.plain, err = scanString(s, i)
		} else {
			end, err = sc.value(i)
		}
		if err != nil {
			return end, err
		}
		if visit != nil {
			m.value = s[i:end]
			if err := visit(m); err != nil {
				return end, err
			}
		}
		i = skipSpace(s, end)
		switch byteAt(s, i) {
		case ',':
			i = skipSpace(s, i+1)
		case '}':
			return i + 1, nil
		default:
			return i, errSyntax
		}
	}
}

// names are the names of one object.
type names struct {
	begin int             // the first of them in the scanner
	bits  uint64          // one for each name: if the bit of a name is not set, the name is new
	many  map[string]bool // once there are more than fewNames
}

// nameMaps is a pool: growing a map takes longer than filling it, and anybody can send tokens that need one.
var nameMaps = sync.Pool{New: func() any { return make(map[string]bool, 2*fewNames) }}

// add remembers the name of a member. It returns false if the object already has the name.
func (sc *scanner) add(seen *names, name string) bool {
	if seen.many == nil && sc.n-seen.begin < fewNames {
		bit := uint64(1) << (bitOf(name) % 64)
		if seen.bits&bit != 0 && sc.has(seen, name) {
			return false
		}
		seen.bits |= bit
		if beyond := sc.n - fewNames; beyond < 0 {
			sc.first[sc.n] = name
		} else {
			sc.more = append(sc.more[:beyond], name)
		}
		sc.n++
		return true
	}
	if seen.many == nil {
		seen.many = nameMaps.Get().(map[string]bool)
		for i := seen.begin; i < sc.n; i++ {
			seen.many[sc.seen(i)] = true
		}
	}
	before := len(seen.many)
	seen.many[name] = true
	return len(seen.many) > before
}

// forget is called at the end of an object. It does not keep a map that has become large, as for a whole key set.
func (seen *names) forget() {
	if seen.many != nil && len(seen.many) <= DefaultMaxLength/8 {
		clear(seen.many)
		nameMaps.Put(seen.many)
	}
}

func (sc *scanner) has(seen *names, name string) bool {
	for i := seen.begin; i < sc.n; i++ {
		if sc.seen(i) == name {
			return true
		}
	}
	return false
}

func (sc *scanner) seen(i int) string {
	if i < fewNames {
		return sc.first[i]
	}
	return sc.more[i-fewNames]
}

// bitOf is a cheap hash. It tells the usual claims apart: their names differ in length, or in the first or last
// character.
func bitOf(name string) int {
	if name == "" {
		return 0
	}
	return len(name) + 3*int(name[0]) + 7*int(name[len(name)-1])
}

func (sc *scanner) array(i int, visit func(value string) error) (end int, err error) {
	if byteAt(sc.s, i) != '[' {
		return i, errSyntax
	}
	if sc.depth++; sc.depth > maxDepth {
		return i, errDepth
	}
	i = skipSpace(sc.s, i+1)
	if byteAt(sc.s, i) == ']' {
		sc.depth--
		return i + 1, nil
	}
	for {
		if end, err = sc.value(i); err != nil {
			return end, err
		}
		if visit != nil {
			if err := visit(sc.s[i:end]); err != nil {
				return end, err
			}
		}
		i = skipSpace(sc.s, end)
		switch byteAt(sc.s, i) {
		case ']':
			sc.depth--
			return i + 1, nil
		case ',':
			i = skipSpace(sc.s, i+1)
		default:
			return i, errSyntax
		}
	}
}
