# SPDX-License-Identifier: MIT
# gnuplot -c next_character_curve.gp TABLE PICTURE: bits against multiply-adds, a curve a kind of row.
set terminal svg size 900,560 font 'sans,13' background '#ffffff'
set output ARG2
set datafile separator "\t"
set logscale x 2
set xtics (12500, 25000, 50000, 100000, 200000, 400000, 800000)
set format x '%.0f'
set xlabel 'multiply-adds a character, in experts and gate'
set ylabel 'bits a character, held out'
set title 'What a mixture is worth: fewer bits for the same cost'
set key top right
set grid xtics ytics lc rgb '#eeeeee' lt 1
set offsets graph 0.05, graph 0.16, graph 0.05, graph 0.05
# What COMET uses of its experts is learned, so its points are no curve.
used(name, experts) = sprintf('%s, %s used', name, experts)
plot ARG1 index 0 using 1:2 with linespoints pt 7 lw 2 lc rgb '#999999' title 'dense networks', \
     '' index 0 using 1:2:3 with labels left offset 0.6,0.6 tc rgb '#777777' notitle, \
     '' index 1 using 1:2 with linespoints pt 7 lw 2 lc rgb '#0072B2' title 'Top-k, one of n experts', \
     '' index 1 using 1:2:3 with labels right offset -0.8,-0.2 tc rgb '#0072B2' notitle, \
     '' index 2 using 1:2 with linespoints pt 6 lw 2 dt 3 lc rgb '#0072B2' title 'Top-k, one of 8, other widths', \
     '' index 2 using 1:2:(strcol(3) eq '8 experts' ? '' : strcol(3)) with labels left offset 0.6,0.5 \
        tc rgb '#0072B2' notitle, \
     '' index 3 using 1:2 with points pt 7 lw 2 lc rgb '#D55E00' title 'COMET', \
     '' index 3 using 1:2:(used(strcol(3), strcol(4))) with labels left offset 0.4,-0.7 tc rgb '#D55E00' \
        notitle
