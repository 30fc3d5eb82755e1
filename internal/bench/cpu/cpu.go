// Package cpu has the CPU time of this process: unlike time on the wall it does not grow while other processes run.
package cpu
