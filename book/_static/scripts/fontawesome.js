// Takes the place of the theme's Font Awesome script (540 KB compressed): the icons come from the subset fonts instead.
