"""The robust grader: what it takes, what it refuses, properties that hold for any answer, and how
it does on labelled rows."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sage_bench.grading.canary import canaries
from sage_bench.grading.grader_study.measure import measure, read_adjudications, read_labels
from sage_bench.grading.graders.math_verify import MathVerify
from sage_bench.grading.graders.mcq import Mcq
from sage_bench.grading.graders.robust import Robust
from sage_bench.grading.graders.string import String
from sage_bench.grading.pool import Pool
from sage_bench.grading.robust import equivalent, readable
from sage_bench.grading.robust.text.clean import clean
from sage_bench.grading.robust.compare.readings import same_reading
from sage_bench.grading.robust.read.nodes import Unreadable
from sage_bench.grading.robust.read.readings import read

SAME = r"""
1/2 || 0.5
\frac{1}{2} || \dfrac12
2\frac{3}{4} || \frac{11}{4}
2\frac{3}{4} || 2 3/4
2\frac{3}{4} || 2.75
4.5e33 || 4.5\times10^{33}
4.5e33 || 4.5 \cdot 10^{33}
1.2e-5 || 1.2 \times 10^{-5}
1e-5 || 0.00001
30^\circ || 30
30^\circ || 30 \text{ degrees}
30 \text{ degrees} || 30^\circ
30 degrees || \frac{\pi}{6}
\$18.90 || 18.90
\$18.90 || 18.9 \text{ dollars}
\$32,348 || 32348
\$5 || 500 cents
\$5 || 5 USD
5.4 \text{ cents} || 5.4
5.4 \text{ cents} || \$0.054
50\% || 50
50\% || 0.5
50\% || \frac{1}{2}
0.5 || 50\%
[0,1) || 0 \le x < 1
0 \le x < 1 || [0,1)
(-\infty, 3) || x < 3
x<3 || (-\infty,3)
(-\infty,-5) \cup (5,\infty) || x<-5 \text{ or } x>5
(-\infty,-5) \cup (5,\infty) || |x| > 5
x \in [-2,7] || [-2,7]
[-2,7] || -2 \leq x \leq 7
\{1,2,3\} || 3,2,1
\{1,2,3\} || {3, 1, 2}
1,2,3 || 1, 2 and 3
1,2,3 || x = 1, 2, 3
1, 2 || x = 1 \text{ or } x = 2
12 or 13 || 13, 12
(1,2), (3,4) || (3,4), (1,2)
(1,2) || (x,y) = (1,2)
(1,2) || x=1, y=2
x=1,y=2 || (1,2)
x=1,y=2 || \begin{cases} x = 1 \\ y = 2 \end{cases}
x=1,y=2 || \begin{aligned} x&=1\\ y&=2\end{aligned}
x=1,y=2 || y=2,x=1
\pm 2 || 2, -2
\pm 2 || \{-2, 2\}
x = \pm 2 || x = 2 \text{ or } x = -2
3 \pm 2\sqrt{2} || 3+2\sqrt2, 3-2\sqrt2
\frac{3 \pm \sqrt{5}}{2} || \frac{3+\sqrt5}{2}, \frac{3-\sqrt5}{2}
y = 2x + 3 || 2x+3
y = 2x + 3 || y - 2x = 3
y = 2x + 3 || 2x - y + 3 = 0
x^2+y^2=25 || y^2 + x^2 - 25 = 0
\begin{pmatrix} 1 \\ 2 \end{pmatrix} || (1, 2)
\begin{pmatrix} 1 \\ 2 \end{pmatrix} || \begin{bmatrix} 1 \\ 2 \end{bmatrix}
\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix} || \begin{bmatrix}1&2\\3&4\end{bmatrix}
\begin{pmatrix} 1/2 \\ 2 \end{pmatrix} || \begin{pmatrix} 0.5 \\ 2 \end{pmatrix}
\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix} || [[1,2],[3,4]]
f(x) = x^2 || x^2
f(x) = x^2 || f(t) = t^2
f(x) = x^2 || y = x^2
f(x)=x, f(x)=2-x || f(x) = 2 - x \text{ or } f(x) = x
f(x)=-1,f(x)=x+1 || f(x) = x + 1 \text{ and } f(x) = -1
\frac{\pi}{4} || \frac{1}{4}\pi
2^{10} || 1024
\sqrt{12} || 2\sqrt{3}
\frac{1}{\sqrt{2}} || \frac{\sqrt2}{2}
3:4 || \frac{3}{4}
3:4 || 6:8
3:4 || 3 \text{ to } 4
4:30 p.m. || 4:30 PM
10:30 || 10:30 \text{ a.m.}
\text{Evelyn} || Evelyn
\text{east} || East
\text{ellipse} || an ellipse
\text{(C)} || C
C || \text{(C)}
C || C. 42
C || \textbf{(C) } 42
17 || \textbf{(C) }17
(E) || E
\text{No} || no
\text{Yes} || \text{Yes.}
52_8 || 52_{8}
52_8 || 52
\infty || +\infty
\text{even} || Even
-\frac{1}{2} || \frac{-1}{2}
-\frac{1}{2} || \frac{1}{-2}
x^2+2x+1 || (x+1)^2
\frac{x+2}{7} || \frac{x}{7}+\frac{2}{7}
1-\cos^2 x || \sin^2 x
\log_2 8 || 3
e^{2} || \exp(2)
\ln 2 + i\pi/3 || \frac{\pi i}{3} + \ln(2)
5 \text{ feet } 6 \text{ inches} || 66 inches
3 \text{ hours} || 180 \text{ minutes}
1 hour 30 minutes || 90 minutes
864 \mbox{ inches}^2 || 864
864 \mbox{ inches}^2 || 6 \text{ square feet}
864 \mbox{ inches}^2 || 864 \text{ in}^2
60 \text{ mph} || 60 \text{ miles per hour}
9.8 \text{ m/s}^2 || 9.8
9.8\,\mathrm{m/s^2} || 9.8 m/s^2
5 || five
twelve || 12
10,\!080 || 10080
11,\! 111,\! 111,\! 100 || 11111111100
1234 || 1,234
12345 || 12\,345
12345 || 12 345
\text{only }x=0 || 0
k \geq 2 || [2, \infty)
a \ne 2 || (-\infty,2)\cup(2,\infty)
\mathbb{R} || (-\infty, \infty)
\mathbb{R} \setminus \{2\} || (-\infty,2)\cup(2,\infty)
\emptyset || \{\}
\emptyset || \varnothing
\{x \mid x > 3\} || (3,\infty)
\{x : 0 < x < 1\} || (0,1)
x > 3 || 3 < x
x \ge 3 || 3 \leq x
n \geq 3 || n \ge 3
\frac{n(n+1)}{2} || \binom{n+1}{2}
n! || n \cdot (n-1)!
(-1)^n || \cos(n\pi)
\lfloor n/2 \rfloor || \left\lfloor \frac{n}{2} \right\rfloor
2^{n}-n-1 || -1 - n + 2^n
\frac{100!}{2^{50}} || 100!/2^{50}
\arctan(1) || \frac{\pi}{4}
\frac{\pi}{4} || \arctan 1
2\sin x\cos x || \sin 2x
\sqrt[3]{7} || 7^{1/3}
a=2, a=-6-4\sqrt2 || -6-4\sqrt2, 2
\frac{1}{3}, 1, 9 || 1/3, 1, 9
\text{Monday} || monday
x = 5 || 5
5 || x = 5
5 || \text{The answer is } 5
5 || 5 \text{ units}
25 || 25 \text{ square units}
0 || 0.0
7 || 7.
{3} || 3
\boxed{5} || 5
5 million || 5000000
\$5 million || 5,000,000
0.\overline{3} || 1/3
1.\overline{234} || \frac{137}{111}
p - q || -q + p
\text{13} || 13
(3, \frac{\pi}{2}) || \left( 3, \frac{\pi}{2} \right)
x \equiv 3 \pmod{7} || x \equiv 3 \pmod 7
15\mbox{ cm}^2 || 15 \text{ cm}^2
t = 3 \text{ seconds} || 3
3 \text{ seconds} || 3 s
3 \text{ seconds} || 3 sec
(a+5)(b+2) || (b+2)(a+5)
\sqrt{5} || 5^{0.5}
AB = 5 || 5
\angle ABC = 60^\circ || 60^\circ
60 || \angle ABC = 60^\circ
|AB| = 5 || 5
\tan\theta = \frac{3}{4} || \frac34
\frac{AB}{CD} = 2 || 2
A = 1, B = 2 || A=1, B=2
(-1,0) \cup (0,1) || -1<x<0 \text{ or } 0<x<1
(-1,0) \cup (0,1) || (-1,1) \setminus \{0\}
\left(0, \frac{1}{2}\right] || (0, 0.5]
x=1,2 || \{1,2\}
1 \text{ and } -1 || \pm 1
f(x) = 1 || 1
30\% || 30 percent
30 \text{ percent} || 30\%
3.5 || 3\frac12
-2\frac{1}{3} || -\frac{7}{3}
\frac{-7}{3} || -2\frac13
1.5 \times 10^3 || 1500
2x+3y=6 || 4x+6y=12
e || 2.71828
\sqrt 2 || 1.41421
\text{June 20} || June 20
\text{Alice} || \text{Alice}
\text{Friday} || Friday.
15^{\text{th}} || 15
9\pi \text{ cm}^2 || 9\pi
9\pi || 9 \pi \text{ square centimeters}
(2,3),(3,2) || (x,y) \in \{(2,3),(3,2)\}
x \in \{1,2\} || 1,2
\left\{ -\frac{1}{2}, 3 \right\} || -0.5, 3
2+\sqrt3 \text{ or } 2-\sqrt3 || 2 \pm \sqrt 3
x \leq -1 \text{ or } x \ge 3 || (-\infty,-1] \cup [3,\infty)
\text{all real numbers} || (-\infty,\infty)
\text{all real numbers} || \mathbb{R}
\text{all real } x || \mathbb{R}
\text{no solution} || \emptyset
\text{None} || \text{no solutions}
5! || 120
\frac{1}{2}\ln 2 || \ln\sqrt2
2 \text{ and } 3 || 2,3
2,3 || 2 \text{ or } 3
n=2,3 || n = 2 \text{ or } n = 3
1 < x < 2 || x \in (1,2)
\text{decreasing} || Decreasing
(0,0), (1,1) || (0,0) \text{ and } (1,1)
x = 2k\pi, k \in \mathbb{Z} || 2n\pi
90^\circ + 180^\circ k || \frac{\pi}{2} + k\pi
\frac{\pi}{2} + k\pi || \frac{\pi}{2} + k\pi, k \in \mathbb{Z}
a_n = 2n - 1 || 2n-1
S_n = n^2 || n^2
a_{n}=2n || a_n = 2 n
y=\frac{1}{2}x^2 || y = 0.5x^2
\frac{x^{2}}{4}+\frac{y^{2}}{3}=1 || 3x^2+4y^2=12
1+2+\ldots+n || 1+2+3+\cdots+n
1, 2, \ldots, n || 1,2,\dots,n
0.64N || \frac{16}{25}N
b < a < d < c || b, a, d, c
p=5,q=2;p=7,q=2 || (5,2),(7,2)
1\leq|z|\leq 2 || z \in [-2,-1] \cup [1,2]
\frac{600}{7} || 85.71
12.55 || \frac{640}{51}
\frac{3}{56} || 0.0535714285714164
\frac{3}{4} || \frac{3}{4} \text{ or } 0.75
27 || x + y = 27
60^\textcirc 42' || 60^\circ 42'
41.4\% || \sqrt{2} - 1
\text{15th Day} || 15
a_k + a_{k-1} + \ldots + a_0 || a_0 + a_1 + a_2 + \cdots + a_k
\{x|x>1 \text{ or } x<0\} || (-\infty,0)\cup(1,+\infty)
\{x|x\neq 2\} || (-\infty,2)\cup(2,\infty)
\left\{x\middle|0<x<2\right\} || (0,2)
A\cap B=\{1,2\} || \{1,2\}
A \cup B = (0,3) || (0,3)
f^{-1}(x)=2x || 2x
y=\sin(2x+\frac{\pi}{3}) || \sin(2x+\frac{\pi}{3})
(x-1)^2+(y+2)^2=9 || x^2+y^2-2x+4y-4=0
3x-4y+5=0 \text{ or } x=1 || x=1 \text{ or } 3x-4y+5=0
S_{\triangle ABC}=\sqrt{3} || \sqrt{3}
\overrightarrow{AB}=(1,2) || (1,2)
\vec{a}=(1,2) || (1,2)
①③ || ①, ③
AC || A, C
A,C || AC
BD || B \text{ and } D
Yes || Yes, it is.
No || No, because 3 is odd
true || True
2 : 3 : 4 || 2:3:4
\frac{1}{3} \text{ hour} || 20 minutes
8:00 a.m. || 8 am
2 hours and 30 minutes || 2.5 hours
2 hours and 30 minutes || 150 minutes
\$18.50 || 18 dollars and 50 cents
\frac{2}{5} || \frac{2}{5} \text{ (or 0.4)}
\frac{2}{5} || \frac25 = 0.4
4k+1, k \in \mathbb{Z} || 4m+1
n = 4k+1, k \in \mathbb{Z} || 4n+1, n \in \mathbb Z
-3 < a \le 1, a \ne 0 || (-3,0)\cup(0,1]
-3 < a \le 1 \text{ and } a \neq 0 || (-3,0)\cup(0,1]
(-\infty,1) \text{ and } (3,\infty) || (-\infty,1)\cup(3,\infty)
x \in \mathbb{R} || \text{all real numbers}
\text{does not exist} || DNE
y=2x (x \ge 0) || y = 2x, x \geq 0
f(x)=2x+1 (x>0) || 2x+1
a_n = 2n-1 (n \in \mathbb{N}^*) || 2n-1
x_1=2, x_2=3 || x=2 \text{ or } x=3
x_1=2, x_2=3 || 3, 2
\{x\in\mathbb{Z} \mid -1<x<3\} || \{0,1,2\}
\{x \in \mathbb{R} : x > 2\} || (2,\infty)
\{x|x=2k, k\in\mathbb{Z}\} || x = 2n, n \in \mathbb{Z}
C_5^2 || 10
A_5^2 || 20
12 \text{ (square units)} || 12
12 || 12 (cm)
y = 3x - 2 || y = 3x - 2 \text{ or } 3x - y - 2 = 0
l: x + y - 3 = 0 || x+y=3
\text{first} || 1st
7.2\times 10^{-4} \text{ m} || 0.00072
\langle 1, -2\rangle || (1,-2)
60^\circ \text{ or } 120^\circ || 60, 120
\frac{\pi}{3} \text{ or } \frac{2\pi}{3} || 60^\circ, 120^\circ
(x+1)(x-2) || x^2-x-2
2\sqrt{3}\,\text{cm}^2 || 2\sqrt3
3/4 of the cake || \frac{3}{4}
approximately 3.5 || 3.5
x \approx 3.14 || 3.14
5 \text{ sides} || 5
\text{increasing} || increasing
-\frac{1}{2} < a < 0 || a \in \left(-\frac12, 0\right)
\log_2 3 || \frac{\ln 3}{\ln 2}
\lg 2 || \log_{10} 2
2^{1010}-1 || -1 + 2^{1010}
1 + 2i || 2i+1
\frac{1}{2}+\frac{\sqrt{3}}{2}i || e^{i\pi/3}
\sqrt{3}i || i\sqrt3
a=1, b=2, c=3 || (1,2,3)
(a,b,c)=(1,2,3) || a = 1, b = 2, c = 3
x=2, y=3 || (2, 3)
x=2 \\ y=3 || (2,3)
\frac{9}{4}\pi \text{ cubic units} || 2.25\pi
10\sqrt{2} \text{ km} || 10\sqrt2
4\text{th} || 4
\text{Tuesday} || It is Tuesday
\text{B} || The answer is B
2x^2+3x || x(2x+3)
n^2+n || n(n+1)
\frac{n^2-n}{2} || \frac{n(n-1)}{2}
\{2,3\} || x = 2, 3
\{-1\} || -1
\{5\} || x=5
[1,+\infty) || x \ge 1
(0,+\infty) || x>0
m \geq 1 \text{ or } m \leq -1 || |m| \geq 1
a > 1 || a \in (1, +\infty)
0 \leq x \leq 1 || [0,1]
\left[-2,2\right] || -2\le x\le 2
\frac{3}{2} \text{ or } -\frac{3}{2} || \pm\frac{3}{2}
x=-1 || -1
S=\frac{1}{2}ab || \frac{ab}{2}
\cos A=\frac{1}{3} || \frac{1}{3}
\sin\alpha = \frac35 || 0.6
|z|=5 || 5
z=3+4i || 3+4i
P=\frac{1}{6} || \frac{1}{6}
P(A)=\frac{1}{6} || \frac16
E(X)=2 || 2
1:2 || \frac{1}{2}
\frac{1}{2} || 1:2
20\% || 0.2
20\% || 20 \text{ percent}
5 \times 10^{-7} || 0.0000005
100^\circ\text{C} || 100
\text{isosceles triangle} || an isosceles triangle
\text{right triangle} || a right triangle
\sqrt{2}:1 || \sqrt{2}
(2,-1) || \text{the point } (2,-1)
25 \text{ km/h} || 25 \text{ kilometers per hour}
30 \text{ m}^2 || 30
\frac{x^2}{9}+\frac{y^2}{4}=1 || 4x^2+9y^2=36
y^2=4x || x = \frac{y^2}{4}
x-y+1=0 || y=x+1
(1,2), (1,3), (2,3) || \{(x,y) \mid x, y \in \{1,2,3\}, x < y\}
(1,1), (-1,-1) || (x, y) \text{ with each } x, y \in \{1, -1\} \text{ and an even number of } -1's
"""
DIFFERENT = r"""
(1,2) || (2,1)
1,2 || 1
1 || 1,2
1,2 || 1,3
[0,1) || [0,1]
[0,1) || (0,1)
3 \text{ hours} || 3 \text{ minutes}
5 \text{ cm} || 5 \text{ m}
5 \text{ apples} || 5 \text{ oranges}
15\mbox{ cm}^2 || 15 \text{ cm}
12 or 13 || 12
\pm 2 || 2
2 || \pm 2
x=1,y=2 || 2, 1
x=1,y=2 || x=2,y=1
x < 3 || x \le 3
x < 3 || x > 3
x < 3 || (3,\infty)
x = 5 || y = 5
50\% || 5
50\% || 5000
\frac{1}{3} || 0.33
\pi || 3.14
2.5 || 2.6
7.50 || 7.51
1469 || 1468
101_2 || 101_3
4210_5 || 555
4210_5 || 555_{10}
52_8 || 42
C || D
C || D. 42
\text{odd} || \text{even}
\text{odd} || oddd
Evelyn || Carla
(1,2),(3,4) || (1,2)
(1,2),(3,4) || (2,1),(4,3)
\begin{pmatrix} 1 \\ 2 \end{pmatrix} || \begin{pmatrix} 2 \\ 1 \end{pmatrix}
\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix} || \begin{pmatrix} 1 & 3 \\ 2 & 4 \end{pmatrix}
f(x)=x^2 || f(x)=x^3
x^2+y^2=1 || x^2-y^2=1
x^2+y^2=1 || 1
2x + z = 1 || 1
7 = 11a+c || 11a+c
a+b || c+b
x^t || x^h
m/n || s/n
4 || 4\sqrt{2}
-2 || 2
10:30 || 10:40
3:4 || 4:3
4:30 p.m. || 4:30 a.m.
\sin x || \cos x
k\pi || 2k\pi
\frac{\pi}{6}+k\pi || \frac{\pi}{6}
1,234 || 1234.5
32349 || 32, 349
1 || -[0,1)
5 || five thousand
\infty || -\infty
(0,1) \cup (2,3) || (0,1)
\$5 || 5 cents
\$5 || 5 apples
1.22 || 1.22\times 10^{-18}
4.5e33 || 4.5e32
0 || 1
yes || no
\sqrt{2} || \sqrt{3}
n+1 || n
1 \text{ or } 2 || 2 \text{ or } 3
[1,2] || (1,2)
60^\circ || 60 \text{ radians}
60^\circ 42' || 60^\circ
30^\circ || 0.3
\frac{567}{4} || 567
x>5 || x<5
(a+5)(b+2) || (+5)(b+2)
\{1,2\} || (2,1)
\text{true} || \text{false}
x=2 || x=-2
1+\frac{1}{e} || 1-\frac1e
2:1 || 1:2
\text{increasing} || \text{decreasing}
\text{All real numbers except } 2 || \text{all real numbers}
f(n)=n || f(n) = \begin{cases} n & \text{if } n \text{ is odd} \\ 0 & \text{otherwise} \end{cases}
5 || 5 \text{ or } 6
12 || 12 + C
x^2 || x^2 + C
3 || 3i
\ln 2 || \log 2
(1, 2, 3) || (1, 2)
July 4 || July 5
2021 || 2021.5
\mathbb{R} || \mathbb{Z}
5 \text{ m} || 5 \text{ km}
16386.16 || 16384.60
\text{ellipse} || \text{circle}
90^\circ || 90\pi
1+2+\ldots+n || 1+3+\ldots+n
1, 2, \ldots, n || 1, 3, \ldots, n
I(0) || 0
(-2, 4) || 4, -2
\frac{1}{2} || \frac{N}{2}
x = 3 \text{ if } a > 0, x = 5 \text{ otherwise} || x = 3
(x, y) \text{ with } x + y \text{ even} || (x, y) \text{ with } x + y \text{ odd}
0.333 || 0.334
\frac{1}{3} || 0.333
785 || 784
\{x\in\mathbb{Z} \mid -1<x<3\} || (-1,3)
y=2x (x \ge 0) || y = 2x, x \leq 0
①③ || ①②
AC || AB
Yes || No, it is not
2 hours and 30 minutes || 2 hours
8 am || 8 pm
4k+1, k \in \mathbb{Z} || 4m+3
(-\infty,1) \text{ and } (3,\infty) || (-\infty,1)
x_1=2, x_2=3 || 2
C_5^2 || 25
f(x)=2x+1 || 2x-1
\text{right triangle} || triangle
25 \text{ km/h} || 25 \text{ m/s}
x=2, y=3 || (3,2)
-3 < a \le 1 \text{ and } a \neq 0 || (-3,1]
1:2 || 2
100^\circ\text{C} || 100^\circ\text{F}
A \cap B=\{1,2\} || \{1,2,3\}
\text{isosceles triangle} || equilateral triangle
m \geq 1 \text{ or } m \leq -1 || m \geq 1
3+4i || 3-4i
\text{first} || second
\frac{x^2}{9}+\frac{y^2}{4}=1 || \frac{x^2}{4}+\frac{y^2}{9}=1
2,3 || 2, 3, 4
x > 1 || x > 2
5 \text{ people} || 5 \text{ dollars}
\{1,2\},\{3\} || \{1\},\{2,3\}
(1,1), (-1,-1) || (x, y) \text{ with each } x, y \in \{1, -1\} \text{ and an odd number of } -1's
"""


def pairs(block: str) -> list[tuple[str, str]]:
    return [
        tuple(part.strip() for part in line.split(" || ")) for line in block.strip().splitlines()
    ]  # type: ignore[misc]


def box(answer: str) -> str:
    return rf"so the answer is $\boxed{{{answer}}}$."


@pytest.mark.parametrize(("gold", "answer"), pairs(SAME))
def test_the_same_in_another_form(gold, answer):
    assert equivalent(gold, answer)["correct"], (read(gold), read(answer))


@pytest.mark.parametrize(("gold", "answer"), pairs(DIFFERENT))
def test_not_the_same(gold, answer):
    assert not equivalent(gold, answer)["correct"]


# --- properties ----------------------------------------------------------------------------------
whole = st.integers(-(10**6), 10**6).map(str)
fraction = st.tuples(st.integers(-500, 500), st.integers(1, 99)).map(
    lambda t: rf"\frac{{{t[0]}}}{{{t[1]}}}"
)
decimal = st.decimals(-1000, 1000, places=3, allow_nan=False).map(str)
surd = st.tuples(st.integers(1, 30), st.integers(2, 50)).map(lambda t: rf"{t[0]}\sqrt{{{t[1]}}}")
term = st.one_of(
    whole,
    fraction,
    decimal,
    surd,
    st.sampled_from(
        ["x", "2x+1", r"\pi", "x^2", r"\sin x", r"\frac{x}{y}", "n!", r"\ln 2", "e^{2t}", r"x_{1}"]
    ),
)
number = st.one_of(whole, fraction, surd)


@st.composite
def answers(draw):
    """Answers of every form."""
    some = draw(st.lists(term, min_size=2, max_size=4))
    a, b = draw(number), draw(number)
    return draw(
        st.sampled_from(
            [
                some[0],
                ", ".join(some),
                "(" + ", ".join(some) + ")",
                r"\{" + ", ".join(some) + r"\}",
                f"[{a}, {b})",
                f"x = {some[0]}",
                f"f(x) = {some[0]}",
                rf"{a} < x \le {b}",
                rf"\begin{{pmatrix}} {some[0]} \\ {some[1]} \end{{pmatrix}}",
                rf"{a} \text{{ cm}}",
                rf"\${abs(hash(a)) % 1000}",
                rf"{a}\%",
                rf"{a}^\circ",
                rf"{some[0]} \text{{ or }} {some[1]}",
                rf"(-\infty, {a}) \cup ({b}, \infty)",
                rf"\pm {surd_of(a)}",
                r"\text{Alice}",
                f"{some[0]} = {some[1]}",
            ]
        )
    )


def surd_of(text: str) -> str:
    return text.lstrip("-")


def compare(gold: str, answer: str) -> bool | None:
    """The reading alone, without math-verify; None for what we leave to it."""
    try:
        return any(same_reading(g, a) for g in read(gold) for a in read(answer))
    except Unreadable:
        return None


@settings(
    derandomize=True, max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
@given(answers())
def test_every_answer_is_itself(answer):
    assert compare(answer, answer) is True


@settings(
    derandomize=True, max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
@given(
    answers(),
    st.sampled_from(["spaces", "dfrac", "left", "dollars", "display", "stop", "box", "text"]),
)
def test_typesetting_changes_nothing(answer, how):
    other = {
        "spaces": lambda s: re.sub(r"([,=<+])", r" \1 ", s),
        "dfrac": lambda s: s.replace(r"\frac", r"\dfrac"),
        "dollars": lambda s: f"${s}$" if r"\$" not in s else s,
        "left": lambda s: re.sub(
            r"(?<!\\)([(\[])", r"\\left\1", re.sub(r"(?<!\\)([)\]])", r"\\right\1", s)
        ),
        "display": lambda s: r"\displaystyle " + s,
        "stop": lambda s: s + ".",
        "box": lambda s: rf"\boxed{{{s}}}",
        "text": lambda s: r"\text{The answer is } " + s,
    }[how](answer)
    assert equivalent(answer, other)["correct"], (clean(answer), clean(other))


@settings(
    derandomize=True, max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
@given(
    st.lists(number, min_size=1, max_size=4, unique=True),
    st.lists(number, min_size=1, max_size=4, unique=True),
    st.sampled_from(["{}", "()", ""]),
)
def test_exact_collections_compare_both_ways_alike(a, b, kind):
    left, right = {"{}": (r"\{", r"\}"), "()": ("(", ")"), "": ("", "")}[kind]
    one, two = (left + ", ".join(x) + right for x in (a, b))
    assert compare(one, two) == compare(two, one)
    if kind != "()":
        assert compare(one, left + ", ".join(reversed(a)) + right)
    elif len(a) > 1:
        assert (
            not compare(one, left + ", ".join(reversed(a)) + right)
            or a == a[::-1]
            or compare(a[0], a[-1]) is not False
        )


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.lists(number, min_size=2, max_size=5, unique=True), st.data())
def test_a_missing_or_another_solution_is_never_right(values, data):
    distinct = [v for i, v in enumerate(values) if not any(compare(v, w) for w in values[:i])]
    if len(distinct) < 2:
        return
    fewer = data.draw(
        st.lists(st.sampled_from(distinct), min_size=1, max_size=len(distinct) - 1, unique=True)
    )
    for opening, closing in ((r"\{", r"\}"), ("", "")):
        assert not compare(", ".join(distinct), opening + ", ".join(fewer) + closing)
    assert not compare(", ".join(distinct), ", ".join([*distinct[:-1], "98765"]))


@given(st.integers(-(10**9), 10**9), st.integers(1, 10**6))
def test_numbers_are_compared_exactly(a, b):
    value = Fraction(a, b)
    assert compare(f"{a}/{b}", rf"\frac{{{value.numerator}}}{{{value.denominator}}}")
    assert compare(f"{a:,}", str(a))
    assert not compare(f"{a}/{b}", rf"\frac{{{value.numerator + 1}}}{{{value.denominator}}}")
    assert not compare(str(a), str(a + 1))


@settings(
    derandomize=True, max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
@given(
    st.lists(
        st.sampled_from(
            list("\\{}[]()|,.;:=<>+-*/^_!'%$&~ 0123456789abdefinopqrstxy")
            + [
                "\\frac",
                "\\sqrt",
                "\\text{",
                "\\left",
                "\\right",
                "\\begin{pmatrix}",
                "\\end{pmatrix}",
                "\\pm",
                "\\cup",
                "\\infty",
                "\\le",
                "^\\circ",
                " and ",
                " or ",
                "½",
                "π",
                "×10^",
            ]
        ),
        max_size=40,
    ).map("".join)
)
def test_no_text_breaks_the_reader(text):
    assert compare(text, text) in {True, False, None}
    assert compare("x", text) in {True, False, None}
    assert isinstance(clean(text), str)


@settings(
    derandomize=True,
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(text=st.text(max_size=80))
def test_the_grader_answers_any_text(robust, text):
    for verdict in robust.grade("12", [text, box(text)]):
        assert verdict.status in {"ok", "no_answer", "parse_error", "timeout", "crash"}
        assert verdict.status == "ok" or not verdict.correct


# --- the grader ----------------------------------------------------------------------------------
def test_boxes_of_the_closing_sentence_are_joined_for_lists_only(robust):
    text = r"The maximum is $\boxed{3}$ and the minimum is $\boxed{1}$."
    assert [
        robust.grade(gold, [text])[0].correct for gold in ("1, 3", "1", "3", r"\{1,3\}", "1, 4")
    ] == [True, True, False, True, False]
    assert not robust.grade("3, 4", [r"It is \boxed{3}. No, wait: it is \boxed{4}."])[0].correct


def test_statuses_and_golds(robust):
    assert [
        v.status
        for v in robust.grade(
            "x", [box("x"), "no box", box(""), r"\boxed{\frac{}{}}", r"<think> \boxed{x}"]
        )
    ] == ["ok", "no_answer", "no_answer", "parse_error", "no_answer"]
    assert [
        robust.gold_error(g) is None
        for g in ("7", "(1,2]", r"\text{Friday}", "D", "", "}", r"\frac{1}{", "???")
    ] == [True] * 4 + [False] * 4
    assert readable(r"\begin{cases} 1 & x > 0 \\ 0 & x < 0 \end{cases}", "")["status"] == "ok"


def test_plain_numbers_are_graded_at_1500_a_second(robust):
    golds = (
        [str(n) for n in range(-500, 1000)]
        + [f"{n}/7" for n in range(1, 400)]
        + [f"{n}.25" for n in range(400)]
    )
    texts = [box(str(n)) for n in range(len(golds))]
    began = time.process_time()
    for gold, text in zip(golds, texts, strict=True):
        robust.grade(gold, [text])
    assert len(golds) / (time.process_time() - began) > 1500


# --- acceptance criteria of the evaluation design, section 8 -------------------------------------
def test_s8_08_minerva_golds_in_e_notation_grade_themselves_and_powers_of_ten(shared, robust):
    import json

    rows = [
        json.loads(line)["answer"]
        for line in (shared / "data/benchmarks/minerva.jsonl").read_text().splitlines()
    ]
    golds = [g for g in rows if re.fullmatch(r"-?[\d.]+e-?\d+", g)]
    assert len(rows) == 272
    assert len(golds) == 58
    for gold in golds:
        mantissa, power = gold.split("e")
        forms = [
            gold,
            rf"{mantissa}\times10^{{{power}}}",
            rf"{mantissa} \cdot 10^{{{power}}}",
            f"{mantissa}×10^{power}" if "-" not in power else gold,
        ]
        assert robust.gold_error(gold) is None and all(
            v.correct for v in robust.grade(gold, [box(f) for f in forms])
        ), gold
        assert (
            not any(
                v.correct
                for v in robust.grade(
                    gold, [box(mantissa), box(rf"{mantissa}\times10^{{{int(power) + 1}}}")]
                )
            )
            or power == "0"
        )


def test_s8_10_leading_zeros_of_aime(robust):
    assert [
        v.correct
        for v in robust.grade(
            "033", [box("33"), box("033"), box("33.0"), box("330"), box(r"\textbf{33}")]
        )
    ] == [True, True, True, False, True]


def test_s8_11_the_percent_canary(robust, pool):
    assert all(
        v.correct
        for v in robust.grade(r"50\%", [box("50"), box("0.5"), box(r"50\%"), box(r"\frac12")])
    )
    assert {(c.gold, c.answer): c.well for c in canaries(pool)}["50", r"50\%"]


def test_s8_12_grading_works_in_threads_and_under_asyncio(robust):
    found: list[bool] = []
    threads = [
        threading.Thread(
            target=lambda: found.append(robust.grade("[0,1)", [box(r"0 \le x < 1")])[0].correct)
        )
        for _ in range(4)
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join()

    async def main():
        return await asyncio.gather(
            *(asyncio.to_thread(robust.grade, "2y", [box("y+y")]) for _ in range(3))
        ), robust.grade("x+1", [box("1+x")])

    several, one = asyncio.run(main())
    assert found == [True] * 4
    assert all(v[0].correct for v in several)
    assert one[0].correct


def test_s8_13_a_hanging_comparison_is_killed_and_the_run_goes_on():
    pool = Pool(workers=1, timeout=3.0)
    began = time.monotonic()
    verdicts = MathVerify(pool).grade("3", [box("9^{9^{9^9}}"), box(r"\sqrt{9}")])
    assert [(v.correct, v.status) for v in verdicts] == [(False, "timeout"), (True, "ok")]
    verdicts = Robust(pool).grade(
        "3", [box("9^{9^{9^9}}"), box(r"\sqrt{9}"), box(r"\int_0^{9^{9^9}} 9^{9^{9^x}} dx")]
    )
    assert [v.correct for v in verdicts] == [False, True, False]
    assert time.monotonic() - began < 60
    pool.close()


def test_s8_19_thinking_that_was_cut_off_is_no_answer(robust, pool):
    cut = r"<think> maybe it is \boxed{12}, let me check"
    for grader, gold in ((robust, "12"), (MathVerify(pool), "12"), (String(), "12"), (Mcq(), "B")):
        text = cut.replace("12", gold)
        verdicts = grader.grade(gold, [text, text + rf" </think> It is \boxed{{{gold}}}."])
        assert [(v.correct, v.status) for v in verdicts] == [(False, "no_answer"), (True, "ok")]


def test_s8_22_the_gold_goes_first(pool):
    """math-verify is not symmetric: an interval gold refuses an inequality, an inequality gold
    takes an interval."""
    math_verify = MathVerify(pool)
    assert not math_verify.grade("[0,1)", [box(r"0 \leq x < 1")])[0].correct
    assert math_verify.grade(r"0 \leq x < 1", [box("[0,1)")])[0].correct
    assert Robust(pool).grade("[0,1)", [box(r"0 \leq x < 1")])[0].correct
    assert Robust(pool).grade(r"0 \leq x < 1", [box("[0,1)")])[0].correct


# --- labelled rows -------------------------------------------------------------------------------
READ_BY_HAND = Path(__file__).with_name("adjudications.jsonl")
TARGETS = {
    "hardverify_math": 0.97,
    "processbench_final_answer": 0.993,
    "olympiadbench200x8_qwen25_7b": 0.99,
}
OTHERS = (
    "math500_rho_outputs",
    "qwen25math_math100x8",
    "math_mathcoder_l7b_correct",
    "mr_math_159",
    "prmbench_qwq_human",
    "mr_gsm8k_answers",
    "math500_subset_qwen2_greedy",
    "gsm8k_openai_solutions_sample",
)


@pytest.mark.parametrize("name", [*TARGETS, *OTHERS])
def test_agreement_with_the_labels_of_the_development_half(name, shared, robust):
    """Labels that do not stand, and those we read as wrong (adjudications.jsonl, each with its
    reason), are left out or mended."""
    rows, rejected = read_labels(
        shared / f"data/verifier/{name}.jsonl", read_adjudications(READ_BY_HAND)
    )
    assert not [r for r in rejected if r.bad]
    (score,) = measure("robust", robust, rows)
    assert score.rows == len(rows) and score.agreement >= TARGETS.get(name, 0.99), (
        score.disagreements
    )
    assert score.slips == 0, [d for d in score.disagreements if d["correct"]]


def test_conventions_of_other_projects_tests(shared, robust, pool):
    """Hand-written pairs of nine projects contradict each other; we take no wrong answer and more
    right ones than math-verify."""
    rows, _ = read_labels(
        shared / "data/verifier/unit_test_pairs.jsonl", read_adjudications(READ_BY_HAND)
    )
    rows = [r for r in rows if r.options is None]
    (ours,), (theirs,) = (
        measure("robust", robust, rows),
        measure("math_verify", MathVerify(pool), rows),
    )
    assert (
        ours.slips == 0 <= theirs.slips and ours.misses < theirs.misses / 2 and ours.agreement > 0.9
    ), ours.disagreements


def test_every_gold_of_the_benchmarks_can_be_read_and_is_itself(shared, robust):
    import json

    bad = []
    for name in ("aime24", "aime25", "amc23", "math500", "minerva", "olympiadbench"):
        for row in map(
            json.loads, (shared / f"data/benchmarks/{name}.jsonl").read_text().splitlines()
        ):
            if (
                robust.gold_error(str(row["answer"]))
                or not robust.grade(str(row["answer"]), [box(str(row["answer"]))])[0].correct
            ):
                bad.append(row["id"])
    assert not bad
