# SPDX-License-Identifier: MIT
# gnuplot -c next_character_curve.gp TABLE PICTURE: bits against multiply-adds, a curve a kind of row.
set terminal svg size 900,560 font 'sans,13' background '#ffffff'
set output ARG2
set datafile separator "\t"
set logscale x 2
set format x '%.0s%c'
set xlabel 'multiply-adds a character in experts and gate'
set ylabel 'bits a character, held out'
set title 'What a mixture is worth: fewer bits for the same cost'
set key top right
set offsets graph 0.05, graph 0.12, graph 0.05, graph 0.05
plot ARG1 index 0 using 1:2 with linespoints pt 7 lw 2 lc rgb '#999999' title 'dense networks', \
     '' index 0 using 1:2:3 with labels left offset 0.6,0.5 tc rgb '#777777' notitle, \
     '' index 1 using 1:2 with linespoints pt 7 lw 2 lc rgb '#0072B2' title 'Top-k, one of n experts', \
     '' index 1 using 1:2:3 with labels left offset 0.8,0 tc rgb '#0072B2' notitle, \
     '' index 2 using 1:2 with points pt 6 lw 2 lc rgb '#0072B2' title 'the same, of other widths', \
     '' index 2 using 1:2:3 with labels left offset 0.8,0 tc rgb '#0072B2' notitle, \
     '' index 3 using 1:2 with linespoints pt 7 lw 2 lc rgb '#D55E00' title 'COMET', \
     '' index 3 using 1:2:3 with labels left offset 0.8,0 tc rgb '#D55E00' notitle
