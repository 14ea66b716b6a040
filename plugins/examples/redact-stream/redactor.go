package main

import (
	"errors"
	"regexp"
	"regexp/syntax"
	"unicode/utf8"
)

// rule is a pattern and what stands in the place of its matches.
type rule struct {
	pattern *regexp.Regexp
	program *syntax.Prog
	replace []byte
	// longest is how many bytes a match has at most.
	longest int
}

// longestMax bounds what is held back of a body: a match longer than this is not looked for.
const longestMax = 4096

func newRule(match, replace string) (rule, error) {
	tree, err := syntax.Parse(match, syntax.Perl)
	if err != nil {
		return rule{}, err
	}
	longest, err := longestOf(tree)
	if err != nil {
		return rule{}, err
	}
	if longest > longestMax {
		return rule{}, errors.New("its matches may be over 4096 bytes long")
	}
	pattern, err := regexp.Compile(match)
	if err != nil {
		return rule{}, err
	}
	if pattern.MatchString("") {
		return rule{}, errors.New("it matches nothing at all, and so everywhere")
	}
	program, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return rule{}, err
	}
	return rule{pattern, program, []byte(replace), longest}, nil
}

// longestOf is how many bytes a match has at most. What looks around a match, or has no bound,
// cannot be found the same in pieces and is refused.
func longestOf(tree *syntax.Regexp) (int, error) {
	switch tree.Op {
	case syntax.OpEmptyMatch, syntax.OpNoMatch:
		return 0, nil
	case syntax.OpLiteral, syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		// A letter may match another one of more bytes, without regard to case.
		return utf8.UTFMax * max(len(tree.Rune), 1), nil
	case syntax.OpCapture, syntax.OpQuest:
		return longestOf(tree.Sub[0])
	case syntax.OpRepeat:
		if tree.Max < 0 {
			return 0, errors.New("{n,} has no end: give the most, as in {1,64}")
		}
		one, err := longestOf(tree.Sub[0])
		return one * tree.Max, err
	case syntax.OpStar, syntax.OpPlus:
		return 0, errors.New("* and + have no end: give the most, as in {1,64}")
	case syntax.OpConcat, syntax.OpAlternate:
		sum, most := 0, 0
		for _, part := range tree.Sub {
			one, err := longestOf(part)
			if err != nil {
				return 0, err
			}
			sum, most = sum+one, max(most, one)
		}
		if tree.Op == syntax.OpConcat {
			return sum, nil
		}
		return most, nil
	}
	return 0, errors.New("^, $, \\b and their like look beyond a match, which may be in another piece")
}

// redactor is a rule on its way through a body.
type redactor struct {
	rule *rule
	held []byte
}

// pass takes bytes; what can be said of them goes on. isEnd: nothing comes that could change it.
func (r *redactor) pass(bytes []byte, isEnd bool) []byte {
	bytes = append(r.held, bytes...)
	r.held = nil
	var out []byte
	at := 0
	for at < len(bytes) {
		start, end := len(bytes), len(bytes)
		if place := r.rule.pattern.FindIndex(bytes[at:]); place != nil {
			start, end = at+place[0], at+place[1]
		}
		if !isEnd {
			// A match that might go on, or might begin before with what comes, is not yet known.
			if from := r.open(bytes, at); from <= start || from < end {
				out = append(out, bytes[at:min(from, start)]...)
				at = min(from, start)
				r.held = append([]byte(nil), bytes[at:]...)
				return out
			}
		}
		out = append(out, bytes[at:start]...)
		if start < end {
			out = append(out, r.rule.replace...)
		}
		at = end
	}
	return out
}

// open is the first place, from at on, from which a match could go on beyond the end of bytes.
func (r *redactor) open(bytes []byte, at int) int {
	first := max(at, len(bytes)-r.rule.longest)
	for first > at && first < len(bytes) && !utf8.RuneStart(bytes[first]) {
		first--
	}
	for from := first; from < len(bytes); from++ {
		if utf8.RuneStart(bytes[from]) && r.rule.lives(bytes[from:]) {
			return from
		}
	}
	return len(bytes) + 1
}

// lives says whether more behind bytes could make a match that begins with all of them.
func (r *rule) lives(bytes []byte) bool {
	states := r.follow(nil, uint32(r.program.Start), map[uint32]bool{})
	for len(bytes) > 0 && len(states) > 0 {
		if !utf8.FullRune(bytes) {
			return true
		}
		letter, size := utf8.DecodeRune(bytes)
		bytes = bytes[size:]
		var next []uint32
		seen := map[uint32]bool{}
		for _, state := range states {
			if one := &r.program.Inst[state]; one.MatchRune(letter) {
				next = r.follow(next, one.Out, seen)
			}
		}
		states = next
	}
	return len(states) > 0
}

// follow adds the states that take a letter and are reached from state without one.
func (r *rule) follow(states []uint32, state uint32, seen map[uint32]bool) []uint32 {
	if seen[state] {
		return states
	}
	seen[state] = true
	switch one := &r.program.Inst[state]; one.Op {
	case syntax.InstAlt, syntax.InstAltMatch:
		return r.follow(r.follow(states, one.Out, seen), one.Arg, seen)
	case syntax.InstCapture, syntax.InstNop, syntax.InstEmptyWidth:
		return r.follow(states, one.Out, seen)
	case syntax.InstMatch, syntax.InstFail:
		return states
	}
	return append(states, state)
}
