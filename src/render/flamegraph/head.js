// The picture's head at the width that there is: its lines are broken at blanks, its legend and its buttons flow, and
// what stands below moves down by what the head takes. inferno's script calls it whenever the width changes.
function lay_out_head(width) {
    var room = width - 2 * xpad;
    var y = 4;
    document.querySelectorAll("#head > text").forEach(function (line) {
        if (line.words === undefined) line.words = line.textContent.split(" ");
        line.textContent = line.words.join(" ");
        var most = Math.floor(room * line.textContent.length / line.getComputedTextLength());
        var step = line.id === "title" ? 21 : 16;
        line.textContent = "";
        broken(line.words, most).forEach(function (text) {
            y += step;
            var part = document.createElementNS("http://www.w3.org/2000/svg", "tspan");
            part.setAttribute("x", xpad);
            part.setAttribute("y", y);
            part.textContent = text;
            line.appendChild(part);
        });
    });
    y += 20;
    var x = xpad;
    document.querySelectorAll("#legend > g").forEach(function (key) {
        var wide = 18 + key.querySelector("text").getComputedTextLength();
        if (x > xpad && x + wide > width - xpad) {
            x = xpad;
            y += 18;
        }
        key.setAttribute("transform", "translate(" + x + "," + y + ")");
        x += wide + 16;
    });
    y += 20;
    unzoombtn.setAttribute("y", y);
    searchbtn.setAttribute("y", y);
    matchedtxt.setAttribute("y", y);
    matchedtxt.setAttribute("x", width - xpad - 13 * fontsize * fontwidth);
    var down = y + 8 - head_room;
    frames.setAttribute("y", down);
    details.parentNode.setAttribute("y", below + down);
    svg.setAttribute("height", tall + down);
}

// Words as lines of so many characters at most; a longer word is cut.
function broken(words, most) {
    var lines = [""];
    words.forEach(function (word) {
        var last = lines[lines.length - 1];
        if (last && last.length + 1 + word.length <= most) {
            lines[lines.length - 1] = last + " " + word;
            return;
        }
        if (last) lines.push("");
        while (word.length > most) {
            lines[lines.length - 1] = word.substring(0, most);
            lines.push("");
            word = word.substring(most);
        }
        lines[lines.length - 1] = word;
    });
    return lines;
}
